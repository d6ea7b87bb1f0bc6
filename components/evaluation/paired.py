"""Paired differences between challenger and champion, as the gate tests them.

Takes the rows of both on the same problems; gives estimates by metric and by slice, with cluster-robust errors. What
is undefined (no scored problem, no call to judge) is left out, never zero; a problem unscored on one side is unscored
on both. Does not compare with thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.evaluation.bootstrap import Floats
from components.evaluation.clustered import Clusters, Estimate, ratio, ratio_difference
from components.evaluation.columns import ALL, slice_masks
from components.evaluation.rows import EvalRow
from components.schema.report import Interval

ACCURACY, COST = "eval/accuracy", "eval/cost"
INVALID, UNSAFE, CALLS = "eval/invalid_rate", "eval/unsafe_calls", "eval/calls"


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """An estimate and the problems behind it."""

    estimate: Estimate
    n: int

    def interval(self, alpha: float = 0.05) -> Interval:
        """The difference with its 1 - alpha interval."""
        return self.estimate.interval(self.n, alpha)


@dataclass(frozen=True, slots=True)
class Pairs:
    """The rows of both, problem by problem in one order."""

    challenger: tuple[EvalRow, ...]
    champion: tuple[EvalRow, ...]

    @staticmethod
    def of(challenger: Sequence[EvalRow], champion: Sequence[EvalRow]) -> Pairs:
        """The pairs; rows that are not of the same problems are an error."""
        ours, theirs = ({row.problem_id: row for row in rows} for rows in (challenger, champion))
        if ours.keys() != theirs.keys():
            raise ValueError(
                f"the gate compares on the same problems: {len(ours.keys() - theirs.keys())} were played by the "
                f"challenger only, {len(theirs.keys() - ours.keys())} by the champion only"
            )
        return Pairs(tuple(ours.values()), tuple(theirs[name] for name in ours))

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(row.group for row in self.challenger)


def paired_differences(pairs: Pairs) -> dict[str, Difference]:
    """Challenger minus champion: accuracy, cost, calls, invalid and unsafe calls, and `slice/NAME/accuracy`."""
    if not pairs.challenger:
        return {}
    clusters = Clusters.of(pairs.groups)
    masks = slice_masks(pairs.challenger)
    played = np.ones(len(pairs.challenger))
    found = {ACCURACY: accuracy_difference(pairs, clusters, played)}
    for name, field in ((COST, "cost"), (CALLS, "calls"), (UNSAFE, "unsafe")):
        gap = _values(pairs.challenger, field) - _values(pairs.champion, field)
        found[name] = _counted(ratio(gap, played, clusters, bounded=False), played)
    found[INVALID] = _invalid(pairs, clusters)
    for name, mask in masks.items():
        if name != ALL:
            found[f"slice/{name}/accuracy"] = accuracy_difference(pairs, clusters, mask)
    return {name: difference for name, difference in found.items() if difference is not None}


def accuracy_difference(pairs: Pairs, clusters: Clusters, mask_P: Floats) -> Difference | None:
    """Accuracy over the problems that are scored on both sides and inside the mask (1.0 where inside)."""
    both = zip(pairs.challenger, pairs.champion, strict=True)
    scored = mask_P * np.asarray([a.success is not None and b.success is not None for a, b in both], float)
    gap = _values(pairs.challenger, "success") - _values(pairs.champion, "success")
    return _counted(ratio(gap * scored, scored, clusters, bounded=True), scored)


def _invalid(pairs: Pairs, clusters: Clusters) -> Difference | None:
    """Difference of the rates; the challenger's own rate where the champion never calls."""
    ours, theirs = (
        (_values(rows, "invalid"), _values(rows, "attempts")) for rows in (pairs.challenger, pairs.champion)
    )
    if theirs[1].any():
        return _counted(ratio_difference(ours, theirs, clusters, bounded=True), np.minimum(ours[1], theirs[1]))
    return _counted(ratio(*ours, clusters, bounded=True), ours[1])


def _counted(estimate: Estimate | None, counting_P: Floats) -> Difference | None:
    return None if estimate is None else Difference(estimate, int((counting_P > 0).sum()))


def _values(rows: Sequence[EvalRow], field: str) -> Floats:
    return np.asarray([float(getattr(row, field) or 0) for row in rows])


def by_interval(differences: Mapping[str, Difference]) -> dict[str, Interval]:
    """Every difference with its 95 % interval."""
    return {name: difference.interval() for name, difference in differences.items()}
