"""Cluster bootstrap: 95 % intervals for figures that are functions of sums over problems.

Takes one number per problem and the problem's group; gives `Interval`s. Whole groups are drawn with replacement
(problems of one country stand or fall together), and every figure of a run shares the same draws, so differences are
paired. Percentile intervals (Efron & Tibshirani 1993, ch. 13); left out: BCa correction and studentised intervals.
Does not know metrics, policies or records of play.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from components.schema.report import Interval

Floats = NDArray[np.float64]
RESAMPLES = 10_000
_CHUNK = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Resamples:
    """The draws shared by all figures of a run."""

    cluster: NDArray[np.intp]
    """Number of each problem's group (P)."""
    counts: Floats
    """How often each group was drawn (R + 1, C), one row a resample; row 0 is the data itself (all ones)."""

    @property
    def clusters(self) -> int:
        return int(self.counts.shape[1])


@lru_cache(maxsize=2)
def resample(groups: tuple[str, ...], *, seed: int, resamples: int = RESAMPLES) -> Resamples:
    """The draws for problems with these groups; the same arguments give the same object."""
    names, cluster_P = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    n = len(names)
    generator = np.random.default_rng(seed)
    counts_RC = np.ones((resamples + 1, n))
    for start in range(0, resamples, _CHUNK):
        rows = min(_CHUNK, resamples - start)
        drawn = generator.integers(0, n, size=(rows, n)) + np.arange(rows)[:, None] * n
        counts_RC[start + 1 : start + 1 + rows] = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
    return Resamples(cluster=cluster_P.reshape(-1), counts=counts_RC)


def cluster_sums(draws: Resamples, columns_PK: Floats) -> Floats:
    """Sums of each column within each group (C, K)."""
    sums_CK = np.zeros((draws.clusters, columns_PK.shape[1]))
    np.add.at(sums_CK, draws.cluster, columns_PK)
    return sums_CK


def totals(draws: Resamples, columns_PK: Floats) -> Floats:
    """Sums of each column in the data (row 0) and in every resample (R + 1, K)."""
    result: Floats = draws.counts @ cluster_sums(draws, columns_PK)
    return result


def interval(figure_R: Floats, n: int) -> Interval | None:
    """Figure (entry 0) with its percentile interval (the rest); None when the data leave it undefined.

    Resamples in which the figure is undefined (nothing to divide by) are left out.
    """
    rounded_R = np.round(figure_R, 12)  # else 1e-17 of summation noise reads as a difference clear of zero
    value, sampled = rounded_R[0], rounded_R[1:][np.isfinite(rounded_R[1:])]
    if n == 0 or not np.isfinite(value) or sampled.size == 0:
        return None
    low, high = np.percentile(sampled, [2.5, 97.5])
    return Interval(value=float(value), low=float(min(low, value)), high=float(max(high, value)), n=n)


def share_interval(found: Interval, clusters: int) -> Interval:
    """`found`, widened when every group agrees: resampling cannot see what none of `clusters` groups showed.

    The exact binomial bound at 0 and 1 (Clopper & Pearson 1934), counting groups, not problems.
    """
    slack = 1.0 - float(0.025 ** (1.0 / max(clusters, 1)))
    low = 1.0 - slack if found.value == 1.0 else found.low
    high = slack if found.value == 0.0 else found.high
    return Interval(value=found.value, low=min(low, found.low), high=max(high, found.high), n=found.n)


def mean(
    values: Sequence[float | None], groups: Sequence[str], *, seed: int, resamples: int = RESAMPLES
) -> Interval | None:
    """Mean of the known values; None when there are none."""
    columns = _known(values)
    return _interval_of(columns, groups, lambda t: t["value"] / t["known"], seed=seed, resamples=resamples)


def paired_difference(
    a: Sequence[float | None],
    b: Sequence[float | None],
    groups: Sequence[str],
    seed: int,
    *,
    resamples: int = RESAMPLES,
) -> Interval | None:
    """Mean of `a - b` over the problems where both are known; None when there are none."""
    differences = [None if x is None or y is None else x - y for x, y in zip(a, b, strict=True)]
    return mean(differences, groups, seed=seed, resamples=resamples)


def ratio_of_means(
    numerators: Sequence[float],
    denominators: Sequence[float],
    groups: Sequence[str],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Interval | None:
    """Sum of numerators over sum of denominators (cost per correct answer); None when nothing divides."""
    columns = {"over": np.asarray(numerators, float), "under": np.asarray(denominators, float)}
    columns["known"] = np.ones(len(groups))
    return _interval_of(columns, groups, lambda t: t["over"] / t["under"], seed=seed, resamples=resamples)


def ratio_difference(
    a: tuple[Sequence[float], Sequence[float]],
    b: tuple[Sequence[float], Sequence[float]],
    groups: Sequence[str],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Interval | None:
    """Ratio of means of `a` minus that of `b` on the same problems, each given as (numerators, denominators)."""
    columns = {
        "a_over": np.asarray(a[0], float),
        "a_under": np.asarray(a[1], float),
        "b_over": np.asarray(b[0], float),
        "b_under": np.asarray(b[1], float),
        "known": np.ones(len(groups)),
    }
    return _interval_of(
        columns,
        groups,
        lambda t: t["a_over"] / t["a_under"] - t["b_over"] / t["b_under"],
        seed=seed,
        resamples=resamples,
    )


def quantile_difference(
    a: Sequence[float], b: Sequence[float], groups: Sequence[str], quantile: float, *, seed: int, resamples: int
) -> Interval | None:
    """Quantile of `a` minus that of `b` on the same problems: the least value that this share does not exceed."""
    if not groups:
        return None
    draws = resample(tuple(groups), seed=seed, resamples=resamples)
    figure_R = _quantiles(a, draws, quantile) - _quantiles(b, draws, quantile)
    return interval(figure_R, len(groups))


def _quantiles(values: Sequence[float], draws: Resamples, quantile: float) -> Floats:
    """The quantile in the data (entry 0) and in every resample (R + 1)."""
    levels_V, place_P = np.unique(np.asarray(values, float), return_inverse=True)
    counts_RV = totals(draws, np.eye(len(levels_V))[place_P.reshape(-1)])
    reached_RV = np.cumsum(counts_RV, axis=1) >= quantile * counts_RV.sum(axis=1, keepdims=True) - 1e-9
    found: Floats = levels_V[reached_RV.argmax(axis=1)]
    return found


def _known(values: Sequence[float | None]) -> dict[str, Floats]:
    known = np.asarray([value is not None for value in values], float)
    return {"value": np.asarray([value or 0.0 for value in values], float), "known": known}


def _interval_of(
    columns: Mapping[str, Floats],
    groups: Sequence[str],
    figure: Callable[[Mapping[str, Floats]], Floats],
    *,
    seed: int,
    resamples: int,
) -> Interval | None:
    if not groups:
        return None
    draws = resample(tuple(groups), seed=seed, resamples=resamples)
    sums_RK = totals(draws, np.column_stack(list(columns.values())))
    with np.errstate(divide="ignore", invalid="ignore"):
        figure_R = figure(dict(zip(columns, sums_RK.T, strict=True)))
    return interval(figure_R, int(columns["known"].sum()))
