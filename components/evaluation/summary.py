"""Everything the report states, as one record that goes to report.json.

Takes the rows of every policy; gives `Report`: metrics by policy, paired differences, and what was decided where
which tool was needed. Does not play or render.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from components.evaluation.metrics import differences, evaluate_rows
from components.evaluation.oracle import NOTHING_HELPS, Branches, branches_of, helpful_decision, oracle_rows
from components.evaluation.policies import COMPARISONS, ORACLE, TRAINED, forced_decision, in_order
from components.evaluation.rows import EvalRow
from components.evaluation.settings import EvaluateSettings
from components.schema.report import EvalReport, Interval

Rows = Mapping[str, Sequence[EvalRow]]
"""Policy name to its rows."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Paired differences between two policies."""

    challenger: str
    baseline: str
    differences: Mapping[str, Interval]
    """Challenger minus baseline, by metric and `slice/NAME/accuracy`."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """What a policy decided first, where which decision was the best."""

    policy: str
    counts: Mapping[str, Mapping[str, int]]
    """Best decision (`none` where nothing helps), then the decision taken, to the number of problems."""


@dataclass(frozen=True, slots=True)
class Report:
    """An evaluation, complete."""

    problems: int
    """Problems played by each policy."""
    cost_weight: float
    """What one unit of cost takes from one correct answer (lambda)."""
    resamples: int
    seed: int
    reports: tuple[EvalReport, ...]
    """One a policy, in the order shown."""
    comparisons: tuple[Comparison, ...]
    confusions: tuple[Confusion, ...]


def summarise(played: Rows, settings: EvaluateSettings, *, cost_weight: float, seed: int) -> Report:
    """The whole report from the rows of the policies that were played; the oracle is added."""
    branches = forced_branches(played)
    rows = with_oracle(played, branches, cost_weight)
    arguments = {"cost_weight": cost_weight, "seed": seed, "resamples": settings.resamples}
    return Report(
        problems=len({row.problem_id for rows_P in played.values() for row in rows_P}),
        cost_weight=cost_weight,
        resamples=settings.resamples,
        seed=seed,
        reports=tuple(evaluate_rows(name, rows[name], branches, **arguments) for name in rows),  # type: ignore[arg-type]
        comparisons=tuple(
            Comparison(a, b, differences(rows[a], rows[b], branches, **arguments))  # type: ignore[arg-type]
            for a, b in COMPARISONS
            if a in rows and b in rows
        ),
        confusions=tuple(
            confusion(play.policy, rows[play.policy], branches, cost_weight) for play in TRAINED if play.policy in rows
        ),
    )


def forced_branches(played: Rows) -> Branches:
    """The all-actions branches, regrouped by problem."""
    return branches_of({d: rows for name, rows in played.items() if (d := forced_decision(name)) is not None})


def with_oracle(played: Rows, branches: Branches, cost_weight: float) -> dict[str, Sequence[EvalRow]]:
    """`played` with the oracle's rows, in the order of the report; policies without rows are left out."""
    ids = list(dict.fromkeys(row.problem_id for rows in played.values() for row in rows))
    rows = dict(played) | {ORACLE: oracle_rows(branches, ids, cost_weight)}
    return {name: rows[name] for name in in_order(rows) if rows[name]}


def confusion(policy: str, rows: Iterable[EvalRow], branches: Branches, cost_weight: float) -> Confusion:
    """Counts of best decision against the decision taken, over problems whose branches could all be judged."""
    decisions = list(dict.fromkeys(decision for branch in branches.values() for decision in branch))
    counts = {best: dict.fromkeys(decisions, 0) for best in [*decisions, NOTHING_HELPS]}
    for row in rows:
        best = helpful_decision(branches.get(row.problem_id, {}), cost_weight)
        if best is not None:
            counts[best][row.decision] = counts[best].get(row.decision, 0) + 1
    return Confusion(policy, counts)


def flat_metrics(report: Report) -> dict[str, float]:
    """Every overall figure under `eval/POLICY/METRIC`, for a tracker."""
    return {
        f"eval/{row.policy}/{name.removeprefix('eval/')}": found.value
        for row in report.reports
        for name, found in row.metrics.items()
    }
