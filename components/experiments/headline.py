"""The headline in the terms of OTC-PO (Wang et al. 2025): calls saved and tool productivity gained, overall and by
family. Takes rows by seed; gives measured rows. Plays nothing.

Tool productivity is correct answers over tool calls, sums over problems. Both are against the same problems under the
policy that is left behind, so a figure says what training changed and not what the problems are like.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from components.evaluation.bootstrap import Floats
from components.evaluation.rows import EvalRow
from components.experiments.figures import Seeds, difference, pooled, statistic
from components.experiments.plan import Measured

FAMILIES = ("fact", "number", "two_hop", "compute", "fact_compute", "chat", "decoy", "puzzle", "own")


def headline(seeds: Seeds, ours: str, theirs: str, *, cost_weight: float) -> list[Measured | None]:
    """Calls saved (%), productivity gained (%) and the accuracy that it cost (points), of `ours` against `theirs`; a
    family without calls on either side has no such figures."""
    rows: list[Measured | None] = [
        difference(
            f"accuracy, {ours} - {theirs}",
            (seeds, ours),
            (seeds, theirs),
            cost_weight=cost_weight,
            unit="points",
            scale=100.0,
        )
    ]
    for family in (None, *FAMILIES):
        pairs = _pairs(seeds, ours, theirs, family)
        where = "all families" if family is None else family
        rows.append(_figure(f"calls saved against the {theirs}, {where}", pairs, _saved, seeds))
        rows.append(_figure(f"tool productivity gained over the {theirs}, {where}", pairs, _gained, seeds))
    return rows


Pairs = Sequence[tuple[EvalRow, EvalRow]]
Figure = Callable[[float, float, float, float], float]
"""Correct answers of ours and theirs, then calls of ours and theirs, to a figure; NaN where it is undefined."""


def _pairs(seeds: Seeds, ours: str, theirs: str, family: str | None) -> Pairs:
    """Judged rows of both policies, problem by problem."""
    mine = {row.problem_id: row for row in pooled(seeds, ours, only=family) if row.success is not None}
    before = [row for row in pooled(seeds, theirs, only=family) if row.success is not None]
    return [(mine[row.problem_id], row) for row in before if row.problem_id in mine]


def _figure(measure: str, pairs: Pairs, figure: Figure, seeds: Seeds) -> Measured | None:
    correct = np.array([[float(bool(row.success)) for row in pair] for pair in pairs]).reshape(-1, 2)
    calls = np.array([[float(row.calls) for row in pair] for pair in pairs]).reshape(-1, 2)

    def weighted(weights: Floats) -> float:
        return 100.0 * figure(*(weights @ correct).tolist(), *(weights @ calls).tolist())

    return statistic(measure, [row.group for row, _ in pairs], weighted, unit="%", bar=None, seeds=len(seeds))


def _saved(_ours: float, _theirs: float, calls: float, calls_before: float) -> float:
    return 1.0 - calls / calls_before if calls_before > 0 else float("nan")


def _gained(correct: float, correct_before: float, calls: float, calls_before: float) -> float:
    """(correct / calls) over the same before, less one."""
    if min(calls, calls_before, correct_before) <= 0:
        return float("nan")
    return (correct / calls) / (correct_before / calls_before) - 1.0
