"""The metrics of a policy and the paired differences between two, overall and by slice, with 95 % intervals.

Takes rows (or problems with trajectories and a price sheet) and the forced branches that measure need and regret; gives
`EvalReport`s and differences. A figure that is undefined (no scored problem, no call to judge) is left out, never zero.
Does not play, compare with thresholds, or render.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from components.evaluation.bootstrap import RESAMPLES, Floats, cluster_sums, interval, resample, share_interval
from components.evaluation.columns import ALL, Columns, columns_of, slice_masks
from components.evaluation.oracle import Branches
from components.evaluation.rows import EvalRow, Price, rows_of
from components.schema.problem import Problem
from components.schema.report import EvalReport, Interval
from components.schema.trajectory import Trajectory

NO_BRANCHES: Branches = {}


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure as a function of sums over problems."""

    name: str
    meaning: str
    better: str
    """higher or lower."""
    figure: Callable[[Columns], Floats]
    """From summed columns to the figure, elementwise over resamples."""
    count: str
    """The column whose sum is the number of problems behind the figure."""
    is_share: bool = False
    """True for shares, whose interval is widened at 0 and 1."""


def _balanced(sums: Columns) -> Floats:
    recall, specificity = sums["needed_called"] / sums["needed"], sums["unneeded_answered"] / sums["unneeded"]
    balanced: Floats = (recall + specificity) / 2
    return balanced


METRICS = (
    Metric(
        "eval/accuracy", "answers the checker accepts", "higher", lambda s: s["success"] / s["scored"], "scored", True
    ),
    Metric("eval/calls", "tool calls per problem", "lower", lambda s: s["calls"] / s["played"], "played"),
    Metric("eval/cost", "cost per problem", "lower", lambda s: s["cost"] / s["played"], "played"),
    Metric(
        "eval/cost_per_correct",
        "cost of all problems over correct answers",
        "lower",
        lambda s: s["scored_cost"] / s["success"],
        "scored",
    ),
    Metric("eval/utility", "success - cost weight * cost", "higher", lambda s: s["utility"] / s["scored"], "scored"),
    Metric(
        "eval/decision_accuracy",
        "mean of called when a call was needed and answered when none was",
        "higher",
        _balanced,
        "need_known",
    ),
    Metric(
        "eval/decision_regret",
        "utility lost by the first decision against the best one",
        "lower",
        lambda s: s["regret"] / s["regret_known"],
        "regret_known",
    ),
    Metric(
        "eval/invalid_rate",
        "attempted calls that were malformed, cut off or failed",
        "lower",
        lambda s: s["invalid"] / s["attempts"],
        "attempted",
        True,
    ),
)


def evaluate(
    policy: str,
    problems: Sequence[Problem],
    trajectories: Iterable[Trajectory],
    price: Price,
    *,
    branches: Branches = NO_BRANCHES,
    cost_weight: float,
    seed: int,
    resamples: int = RESAMPLES,
) -> EvalReport:
    """All metrics of the trajectories one policy played."""
    rows = rows_of(policy, problems, trajectories, price)
    return evaluate_rows(policy, rows, branches, cost_weight=cost_weight, seed=seed, resamples=resamples)


def evaluate_rows(
    policy: str,
    rows: Sequence[EvalRow],
    branches: Branches = NO_BRANCHES,
    *,
    cost_weight: float,
    seed: int,
    resamples: int = RESAMPLES,
) -> EvalReport:
    """All metrics of one policy's rows, overall and by slice."""
    if not rows:
        return EvalReport(policy=policy, metrics={}, by_slice={})
    masks = slice_masks(rows)
    sums = _Sums.of(rows, branches, masks, cost_weight=cost_weight, seed=seed, resamples=resamples)
    by_slice = {name: _figures(sums, name) for name in masks}
    return EvalReport(policy=policy, metrics=by_slice.pop(ALL), by_slice=by_slice)


def differences(
    challenger: Sequence[EvalRow],
    champion: Sequence[EvalRow],
    branches: Branches = NO_BRANCHES,
    *,
    cost_weight: float,
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """Challenger minus champion on the problems both played: every metric, and `slice/NAME/accuracy`.

    A problem that is unscored on one side is unscored on both.
    """
    ours, theirs = _paired(challenger, champion)
    if not ours:
        return {}
    masks = slice_masks(ours)
    arguments = {"cost_weight": cost_weight, "seed": seed, "resamples": resamples}
    a = _Sums.of(ours, branches, masks, **arguments)  # type: ignore[arg-type]
    b = _Sums.of(theirs, branches, masks, **arguments)  # type: ignore[arg-type]
    found = {metric.name: _difference(metric, a, b, ALL) for metric in METRICS}
    accuracy = METRICS[0]
    found |= {f"slice/{name}/accuracy": _difference(accuracy, a, b, name) for name in masks if name != ALL}
    return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """Summed columns by slice."""

    by_slice: Mapping[str, Columns]
    """Slice, then column, to its sum in the data (entry 0) and in every resample."""
    groups: Mapping[str, Mapping[str, int]]
    """Slice, then column, to the number of groups with a positive sum."""

    @staticmethod
    def of(
        rows: Sequence[EvalRow],
        branches: Branches,
        masks: Mapping[str, Floats],
        *,
        cost_weight: float,
        seed: int,
        resamples: int,
    ) -> _Sums:
        columns = columns_of(rows, branches, cost_weight)
        draws = resample(tuple(row.group for row in rows), seed=seed, resamples=resamples)
        names, values_PK = list(columns), np.column_stack(list(columns.values()))
        sums, groups = {}, {}
        for name, mask_P in masks.items():
            sums_CK = cluster_sums(draws, values_PK * mask_P[:, None])
            inside = sums_CK.any(axis=1)  # groups outside the slice add nothing: do not multiply them
            sums_KR = (draws.counts[:, inside] @ sums_CK[inside]).T
            sums[name] = dict(zip(names, sums_KR, strict=True))
            groups[name] = dict(zip(names, (sums_CK > 0).sum(axis=0).tolist(), strict=True))
        return _Sums(by_slice=sums, groups=groups)


def _figures(sums: _Sums, slice_name: str) -> dict[str, Interval]:
    columns, found = sums.by_slice[slice_name], {}
    for metric in METRICS:
        with np.errstate(divide="ignore", invalid="ignore"):
            result = interval(metric.figure(columns), round(float(columns[metric.count][0])))
        if result is not None and metric.is_share:
            result = share_interval(result, sums.groups[slice_name][metric.count])
        if result is not None:
            found[metric.name] = result
    return found


def _difference(metric: Metric, a: _Sums, b: _Sums, slice_name: str) -> Interval | None:
    ours, theirs = a.by_slice[slice_name], b.by_slice[slice_name]
    with np.errstate(divide="ignore", invalid="ignore"):
        figure_R = metric.figure(ours) - metric.figure(theirs)
    return interval(figure_R, round(float(min(ours[metric.count][0], theirs[metric.count][0]))))


def _paired(a: Sequence[EvalRow], b: Sequence[EvalRow]) -> tuple[list[EvalRow], list[EvalRow]]:
    theirs = {row.problem_id: row for row in b}
    pairs = [(row, theirs[row.problem_id]) for row in a if row.problem_id in theirs]
    judged = [
        (x, y)
        if x.success is not None and y.success is not None
        else (replace(x, success=None), replace(y, success=None))
        for x, y in pairs
    ]
    return [x for x, _ in judged], [y for _, y in judged]
