"""Cluster-robust intervals: differences of means and of ratios, with errors that allow for related problems.

Takes numbers per problem (P), for one gate or for many at once (leading axis B), and the problems' groups; gives
values with standard errors and intervals. Errors are those of linearised ratios with sums over whole groups (CR1;
Cameron & Miller 2015, eq. 10 and 11; for paired evaluations Miller 2024, arXiv 2411.00640), quantiles are Student's
with one degree of freedom less than groups. Left out: CR2 correction, Satterthwaite's degrees of freedom. Does not
know metrics or thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from components.evaluation.bootstrap import Floats
from components.schema.report import Interval


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Which problems belong together."""

    order: NDArray[np.intp]
    """Problems sorted by group (P)."""
    starts: NDArray[np.intp]
    """Where each group begins in that order (C)."""
    in_order: bool
    """True when the problems are sorted already."""

    @staticmethod
    def of(groups: Sequence[str]) -> Clusters:
        """The clusters of problems with these groups."""
        _, cluster_P = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
        order = np.argsort(cluster_P.reshape(-1), kind="stable")
        sorted_P = cluster_P.reshape(-1)[order]
        starts = np.flatnonzero(np.r_[True, sorted_P[1:] != sorted_P[:-1]])
        return Clusters(order, starts, in_order=bool(np.array_equal(order, np.arange(len(order)))))

    def sums(self, values_BP: Floats) -> Floats:
        """Sums within each group (..., C)."""
        sorted_BP = values_BP if self.in_order else values_BP[..., self.order]
        alone = len(self.starts) == len(self.order)
        result: Floats = sorted_BP if alone else np.add.reduceat(sorted_BP, self.starts, axis=-1)
        return result


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """Figures with their standard errors, one a gate."""

    value: Floats
    error: Floats
    clusters: int
    """Groups behind the figures."""

    def bounds(self, alpha: float) -> tuple[Floats, Floats]:
        """Low and high: each one-sided at alpha / 2."""
        reach = student_quantile(1 - alpha / 2, self.clusters - 1) * self.error
        return self.value - reach, self.value + reach

    def interval(self, n: int, alpha: float = 0.05) -> Interval:
        """The figure of a single gate with its 1 - alpha interval."""
        low, high = self.bounds(alpha)
        return Interval(value=round(float(self.value), 12), low=float(low), high=float(high), n=n)


def ratio(over_BP: Floats, under_BP: Floats, clusters: Clusters, *, bounded: bool) -> Estimate | None:
    """Sum of `over` by sum of `under`; None where fewer than two groups have any `under`.

    `bounded` says that `over` is a difference of shares: half a win and half a loss more enter the variance, each in a
    group of its own (the paired form of Agresti & Min 2005), so that no difference at all is no proof of equality.
    """
    groups = int((clusters.sums(under_BP) > 0).any(axis=tuple(range(under_BP.ndim - 1))).sum())
    total = under_BP.sum(axis=-1)
    if groups < 2 or not np.all(total > 0):
        return None
    value = over_BP.sum(axis=-1) / total
    return _estimate(value, _influence(over_BP, under_BP, value, total), groups, clusters, total if bounded else None)


def ratio_difference(
    a: tuple[Floats, Floats], b: tuple[Floats, Floats], clusters: Clusters, *, bounded: bool
) -> Estimate | None:
    """Ratio of `a` minus ratio of `b` on the same problems, each as (over, under), both (P); None as above."""
    totals = a[1].sum(), b[1].sum()
    groups = int(((clusters.sums(a[1]) > 0) | (clusters.sums(b[1]) > 0)).sum())
    if groups < 2 or not min(totals) > 0:
        return None
    values = a[0].sum() / totals[0], b[0].sum() / totals[1]
    influence = _influence(*a, values[0], totals[0]) - _influence(*b, values[1], totals[1])
    floor = np.asarray(min(totals)) if bounded else None
    return _estimate(np.asarray(values[0] - values[1]), influence, groups, clusters, floor)


def _influence(over_BP: Floats, under_BP: Floats, value: Floats, total: Floats) -> Floats:
    result: Floats = (over_BP - np.expand_dims(value, -1) * under_BP) / np.expand_dims(total, -1)
    return result


def _estimate(value: Floats, influence: Floats, groups: int, clusters: Clusters, floor: Floats | None) -> Estimate:
    variance = groups / (groups - 1) * (clusters.sums(influence) ** 2).sum(axis=-1)
    if floor is not None:
        variance = variance + 1.0 / floor**2
    return Estimate(value, np.sqrt(variance), groups)


def student_quantile(p: float, degrees: int) -> float:
    """Student's t quantile: exact for 1 and 2 degrees, else Abramowitz & Stegun 26.7.5 (within 1 % at 97.5 %)."""
    if degrees == 1:
        return math.tan(math.pi * (p - 0.5))
    if degrees == 2:
        return (2 * p - 1) / math.sqrt(2 * p * (1 - p))
    z = NormalDist().inv_cdf(p)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    quantile: float = z + sum(term / degrees ** (power + 1) for power, term in enumerate(terms))
    return quantile
