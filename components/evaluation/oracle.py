"""What every decision at the root would have brought: need, regret and the per-state oracle, measured, not labelled.

Takes the rows of one policy's forced branches (answer first, search first, python first, then free play); gives the
best branch a problem, whether a call was needed, and the utility lost by the decision that was taken. Q(s, a) is the
branch's own success - cost_weight * cost (one greedy play, so without sampling noise). Does not play anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from components.evaluation.rows import EvalRow
from components.schema.trajectory import ANSWER

Branches = Mapping[str, Mapping[str, EvalRow]]
"""Problem id, then forced decision (answer first), to the row of that branch."""
NOTHING_HELPS = "none"
"""The best decision where no branch succeeds."""


def branches_of(forced_rows: Mapping[str, Iterable[EvalRow]]) -> dict[str, dict[str, EvalRow]]:
    """Rows by forced decision, regrouped by problem."""
    branches: dict[str, dict[str, EvalRow]] = {}
    for decision, rows in forced_rows.items():
        for row in rows:
            branches.setdefault(row.problem_id, {})[decision] = row
    return branches


def utility(row: EvalRow, cost_weight: float) -> float | None:
    """Q of a branch: success - cost_weight * cost; None when the answer could not be judged."""
    return None if row.success is None else float(row.success) - cost_weight * row.cost


def call_needed(branch: Mapping[str, EvalRow]) -> bool | None:
    """False if the direct answer is right, True if it is wrong and a call makes it right, else None (undecidable)."""
    direct = branch[ANSWER].success if ANSWER in branch else None
    if direct is None:
        return None
    if direct:
        return False
    return True if any(row.success for decision, row in branch.items() if decision != ANSWER) else None


def best_decision(branch: Mapping[str, EvalRow], cost_weight: float) -> str | None:
    """The decision with the highest utility (ties: the first branch); None when no branch could be judged."""
    known = {decision: utility(row, cost_weight) for decision, row in branch.items()}
    scored = {decision: value for decision, value in known.items() if value is not None}
    return max(scored, key=scored.__getitem__) if scored else None


def helpful_decision(branch: Mapping[str, EvalRow], cost_weight: float) -> str | None:
    """The best decision among branches that succeed, NOTHING_HELPS when all fail, None if any is unjudged."""
    if not branch or any(row.success is None for row in branch.values()):
        return None
    best = best_decision({decision: row for decision, row in branch.items() if row.success}, cost_weight)
    return best or NOTHING_HELPS


def regret(branch: Mapping[str, EvalRow], taken: str, cost_weight: float) -> float | None:
    """max_a Q(s, a) - Q(s, taken); None when a branch could not be judged or `taken` has none."""
    values = {decision: utility(row, cost_weight) for decision, row in branch.items()}
    known = [value for value in values.values() if value is not None]
    chosen = values.get(taken)
    if chosen is None or len(known) < len(values):
        return None
    return max(known) - chosen


def oracle_rows(branches: Branches, problem_ids: Sequence[str], cost_weight: float) -> tuple[EvalRow, ...]:
    """The rows of the policy that takes the best branch at every root."""
    rows = []
    for problem_id in problem_ids:
        branch = branches.get(problem_id, {})
        best = best_decision(branch, cost_weight)
        if best is not None:
            rows.append(replace(branch[best], policy="oracle", decision=best))
    return tuple(rows)
