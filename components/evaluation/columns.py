"""Numbers per problem that every metric is a function of.

Takes rows and forced branches; gives named columns, zero where a problem does not count (its counting column is
zero too). Does not average or draw anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from components.evaluation.bootstrap import Floats
from components.evaluation.oracle import Branches, call_needed, regret, utility
from components.evaluation.rows import EvalRow
from components.schema.trajectory import ANSWER

Columns = Mapping[str, Floats]
ALL = "all"
"""Name of the slice that holds every problem."""


def columns_of(rows: Sequence[EvalRow], branches: Branches, cost_weight: float) -> dict[str, Floats]:
    """One number a problem (P) under each name."""
    empty: Mapping[str, EvalRow] = {}
    need = [call_needed(branches.get(row.problem_id, empty)) for row in rows]
    lost = [regret(branches.get(row.problem_id, empty), row.decision, cost_weight) for row in rows]
    gained = [utility(row, cost_weight) for row in rows]
    called = [row.decision != ANSWER for row in rows]
    columns = {
        "played": [1.0] * len(rows),
        "scored": [row.success is not None for row in rows],
        "success": [bool(row.success) for row in rows],
        "scored_cost": [row.cost if row.success is not None else 0.0 for row in rows],
        "calls": [row.calls for row in rows],
        "cost": [row.cost for row in rows],
        "attempts": [row.attempts for row in rows],
        "attempted": [row.attempts > 0 for row in rows],
        "invalid": [row.invalid for row in rows],
        "utility": [value or 0.0 for value in gained],
        "need_known": [value is not None for value in need],
        "needed": [value is True for value in need],
        "needed_called": [value is True and call for value, call in zip(need, called, strict=True)],
        "unneeded": [value is False for value in need],
        "unneeded_answered": [value is False and not call for value, call in zip(need, called, strict=True)],
        "regret": [value or 0.0 for value in lost],
        "regret_known": [value is not None for value in lost],
    }
    return {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}


def slice_masks(rows: Sequence[EvalRow]) -> dict[str, Floats]:
    """Slice name to 1.0 where the problem belongs to it (P); `ALL` first, the others by name."""
    names = sorted({name for row in rows for name in row.slices})
    masks = {ALL: np.ones(len(rows))}
    return masks | {name: np.asarray([name in row.slices for row in rows], dtype=np.float64) for name in names}
