"""The gate's operating curve: how often it promotes what is equal, and what is better by so much.

Takes scenarios (problems, discordance, true effect, related problems); gives shares of promotions over many simulated
gates, each with the intervals, the rule and the slice guard that real gates use, and the power that the normal
approximation of the paired (McNemar) test gives. Left out: guards on calls and on percentiles, which only withhold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from components.evaluation.bootstrap import Floats
from components.evaluation.clustered import Clusters, Estimate, ratio
from components.evaluation.gate import is_cheaper, is_superior
from components.evaluation.settings import GateSettings
from components.evaluation.spending import alpha_of
from components.schema.report import Interval

CHUNK = 250_000
"""Problems held at once (gates side by side times problems a gate)."""
SLICES = 8
COSTS = (0.0, 0.3, 1.0)
COST_SHARES = (0.2, 0.25, 0.55)
"""What a problem costs either side: an answer, a snippet, a search, as often as the demo's policies choose them."""
_LEVELS = np.repeat(COSTS, np.diff(np.round(np.cumsum((0.0, *COST_SHARES)) * 256).astype(int)))
_GAPS = np.subtract.outer(_LEVELS, _LEVELS).ravel()
"""Every difference of two costs, as often as it comes in 65 536 draws."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A world in which gates are held."""

    effect: float
    """True gain of the challenger's accuracy."""
    problems: int = 1000
    discordance: float = 0.2
    """Share of problems that exactly one of the two gets right."""
    group_size: int = 1
    """Problems a group."""
    correlation: float = 0.0
    """Of the paired differences within a group."""
    slice_loss: float = 0.0
    """Extra loss of accuracy in the first of the `SLICES` slices."""

    def __post_init__(self) -> None:
        if not abs(self.effect) <= self.discordance <= 1:
            raise ValueError(f"a gain of {self.effect} needs a discordance of at least {abs(self.effect)}, at most 1")
        if self.problems % self.group_size:
            raise ValueError(f"{self.problems} problems cannot be divided into groups of {self.group_size}")


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the curve."""

    scenario: Scenario
    promoted: Interval
    """Share of gates that promoted, with its 95 % interval (Wilson)."""
    theory: float
    """Power of a normal paired test for superiority at the same level."""


def operating_point(scenario: Scenario, settings: GateSettings, *, gates: int, seed: int, look: int = 1) -> Point:
    """How often gates promote in this world at their `look`-th use of the problems."""
    alpha = alpha_of(look, looks=settings.looks, spending=settings.spending, alpha=settings.alpha)
    generator = np.random.default_rng(seed)
    count = 0
    for size in _chunks(gates, scenario.problems):
        gaps = _outcomes(scenario, size, generator)
        count += int(_promoted(gaps, _cost_gaps(gaps.shape, generator), scenario, settings, alpha).sum())
    return Point(scenario, share(count, gates), power(scenario, alpha))


def looks_promoting(settings: GateSettings, *, problems: int, gates: int, seed: int, spend: bool) -> Interval:
    """Share of worlds in which any of `settings.looks` challengers, all equal to the champion, is promoted.

    The challengers share the champion's outcomes, so their gates are related. With `spend` off each look uses the whole
    alpha, which is what spending guards against.
    """
    generator, clusters = np.random.default_rng(seed), _clusters(problems, 1)
    scenario, count = Scenario(0.0, problems), 0
    slip = (1 - math.sqrt(1 - 2 * scenario.discordance)) / 2  # two independent slips differ with this discordance
    for size in _chunks(gates, problems):
        truth = generator.random((size, problems), np.float32) < 0.6
        champion = truth ^ (generator.random((size, problems), np.float32) < slip)
        found = np.zeros(size, np.bool_)
        for look in range(1, settings.looks + 1):
            planned = alpha_of(look, looks=settings.looks, spending=settings.spending, alpha=settings.alpha)
            challenger = truth ^ (generator.random((size, problems), np.float32) < slip)
            gaps = challenger.astype(np.float64) - champion
            costs = _cost_gaps(gaps.shape, generator)
            found |= _rule(gaps, costs, clusters, settings, planned if spend else settings.alpha)
        count += int(found.sum())
    return share(count, gates)


def power(scenario: Scenario, alpha: float) -> float:
    """P(reject) of the one-sided paired test at alpha / 2 under the normal approximation (McNemar; Connor 1987)."""
    design = 1 + (scenario.group_size - 1) * scenario.correlation
    error = math.sqrt((scenario.discordance - scenario.effect**2) * design / scenario.problems)
    normal = NormalDist()
    return normal.cdf(scenario.effect / error - normal.inv_cdf(1 - alpha / 2))


def share(count: int, of: int) -> Interval:
    """A share with its Wilson interval."""
    p, z = count / of, NormalDist().inv_cdf(0.975)
    middle, reach = (p + z * z / (2 * of)), z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    scale = 1 + z * z / of
    return Interval(p, max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale), of)


def _chunks(gates: int, problems: int) -> Iterator[int]:
    size = max(1, CHUNK // problems)
    yield from (min(size, gates - start) for start in range(0, gates, size))


def _outcomes(scenario: Scenario, gates: int, generator: np.random.Generator) -> Floats:
    """Challenger's success minus champion's (B, P): 1, 0 or -1."""
    shape = gates, scenario.problems
    loss_P = np.zeros(scenario.problems)
    loss_P[: scenario.problems // SLICES] = scenario.slice_loss
    effect_P = scenario.effect - loss_P
    discordance_P = np.maximum(scenario.discordance, np.abs(effect_P))
    luck = generator.random(shape, np.float32)
    if scenario.group_size > 1:  # a problem has its group's luck so often that two of a group correlate as asked
        groups = scenario.problems // scenario.group_size
        common = np.repeat(generator.random((gates, groups), np.float32), scenario.group_size, axis=1)
        luck = np.where(generator.random(shape, np.float32) < math.sqrt(scenario.correlation), common, luck)
    gaps: Floats = (luck < (discordance_P + effect_P) / 2).astype(np.float64)
    gaps -= luck > 1 - (discordance_P - effect_P) / 2
    return gaps


def _cost_gaps(shape: tuple[int, ...], generator: np.random.Generator) -> Floats:
    """Challenger's cost minus champion's (B, P), alike on average."""
    gap: Floats = _GAPS[generator.integers(0, len(_GAPS), shape, np.uint16, endpoint=False)]
    return gap


def _promoted(
    gaps: Floats, costs: Floats, scenario: Scenario, settings: GateSettings, alpha: float
) -> NDArray[np.bool_]:
    found = _rule(gaps, costs, _clusters(scenario.problems, scenario.group_size), settings, alpha)
    size = scenario.problems // SLICES
    for start in range(0, size * SLICES, size):
        part = slice(start, start + size)
        _, high = _mean(gaps[:, part], _clusters(size, scenario.group_size), bounded=True).bounds(0.05)
        found &= high >= -settings.slice_margin
    return found


def _rule(gaps: Floats, costs: Floats, clusters: Clusters, settings: GateSettings, alpha: float) -> NDArray[np.bool_]:
    low, _ = _mean(gaps, clusters, bounded=True).bounds(alpha)
    _, cost_high = _mean(costs, clusters, bounded=False).bounds(alpha)
    return is_superior(low) | is_cheaper(low, cost_high, settings.accuracy_margin)


def _clusters(problems: int, group_size: int) -> Clusters:
    return Clusters.of([f"{i // group_size:06d}" for i in range(problems)])


def _mean(values: Floats, clusters: Clusters, *, bounded: bool) -> Estimate:
    estimate = ratio(values, np.ones_like(values), clusters, bounded=bounded)
    assert estimate is not None
    return estimate
