"""Figures over several seeds: paired differences, shares, areas under the curve, each with a 95 % cluster interval.

Takes evaluation rows by seed; gives `Measured` rows. A problem counts once a seed, and the groups of the bootstrap are
those of the problems, so what one country does in three seeds is one observation, not three. Plays nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from components.evaluation.bootstrap import Floats, resample
from components.evaluation.metrics import differences, evaluate_rows
from components.evaluation.rows import EvalRow
from components.experiments.plan import Measured, Played
from components.schema.report import Interval

SEED = 0
"""Of the bootstrap: the same rows give the same intervals."""
RESAMPLES = 2000
"""Of the bootstrap behind every interval."""
Seeds = Mapping[int, Played]
Only = str | tuple[str, ...] | None
"""A slice, or several: rows of one of them; None: all rows."""


def pooled(seeds: Seeds, policy: str, *, only: Only = None) -> tuple[EvalRow, ...]:
    """The rows of a policy in all seeds, every problem as one of its seed; of the slices `only` where given."""
    wanted = {only} if isinstance(only, str) else None if only is None else set(only)
    return tuple(
        replace(row, problem_id=f"{row.problem_id}/{seed}")
        for seed, played in sorted(seeds.items())
        for row in played.rows[policy]
        if wanted is None or wanted & set(row.slices)
    )


def difference(
    measure: str,
    challenger: tuple[Seeds, str],
    baseline: tuple[Seeds, str],
    *,
    metric: str = "eval/accuracy",
    only: Only = None,
    cost_weight: float,
    unit: str,
    scale: float = 1.0,
    bar: str | None = None,
) -> Measured | None:
    """Challenger minus baseline (what was left, policy) in a metric of `evaluation.metrics`, problem by problem."""
    ours, theirs = (pooled(seeds, policy, only=only) for seeds, policy in (challenger, baseline))
    found = differences(ours, theirs, cost_weight=cost_weight, seed=SEED, resamples=RESAMPLES).get(metric)
    return measured(measure, found, unit=unit, scale=scale, bar=bar, seeds=len(challenger[0]))


def unhurt(seeds: Seeds, name: str, *, cost_weight: float) -> Measured | None:
    """Reinforced minus clone in the accuracy on one slice: three points less are borne."""
    return difference(
        f"reinforced - clone, accuracy, slice {name}",
        (seeds, "reinforced"),
        (seeds, "clone"),
        only=name,
        cost_weight=cost_weight,
        unit="points",
        scale=100.0,
        bar=">= -3",
    )


def level(
    measure: str,
    seeds: Seeds,
    policy: str,
    *,
    metric: str = "eval/accuracy",
    only: Only = None,
    cost_weight: float,
    unit: str,
    scale: float = 1.0,
    bar: str | None = None,
) -> Measured | None:
    """A metric of one policy."""
    rows = pooled(seeds, policy, only=only)
    report = evaluate_rows(policy, rows, cost_weight=cost_weight, seed=SEED, resamples=RESAMPLES)
    return measured(measure, report.metrics.get(metric), unit=unit, scale=scale, bar=bar, seeds=len(seeds))


def measured(
    measure: str, found: Interval | None, *, unit: str, scale: float, bar: str | None, seeds: int
) -> Measured | None:
    """The interval as a row; None where the figure is undefined."""
    if found is None:
        return None
    low, high = found.low * scale, found.high * scale
    return Measured(measure, found.value * scale, low, high, unit, bar, found.n, seeds)


def statistic(
    measure: str,
    groups: Sequence[str],
    figure: Callable[[Floats], float],
    *,
    unit: str,
    bar: str | None,
    seeds: int,
) -> Measured | None:
    """Any figure of weighted problems: `figure(weights_P)`, with weights 1 for the data and counts for a resample."""
    if not groups:
        return None
    draws = resample(tuple(groups), seed=SEED, resamples=RESAMPLES)
    values = np.array([figure(counts[draws.cluster]) for counts in draws.counts])
    sampled = values[1:][np.isfinite(values[1:])]
    if not np.isfinite(values[0]) or not sampled.size:
        return None
    low, high = np.percentile(sampled, [2.5, 97.5])
    return Measured(measure, float(values[0]), float(low), float(high), unit, bar, len(groups), seeds)


def area_under_curve(scores_P: Floats, positive_P: Floats, weights_P: Floats) -> float:
    """P(a positive scores higher than a negative), ties counted half; NaN when one kind is missing."""
    order = np.argsort(scores_P, kind="stable")
    scores, up = scores_P[order], (weights_P * positive_P)[order]
    down = (weights_P * (1.0 - positive_P))[order]
    _, start = np.unique(scores, return_index=True)
    ups, downs = np.add.reduceat(up, start), np.add.reduceat(down, start)
    below = np.concatenate([[0.0], np.cumsum(downs)[:-1]])
    pairs = ups.sum() * downs.sum()
    return float((ups * (below + downs / 2)).sum() / pairs) if pairs > 0 else float("nan")


def present(rows: Iterable[Measured | None]) -> tuple[Measured, ...]:
    """Without the undefined ones."""
    return tuple(row for row in rows if row is not None)
