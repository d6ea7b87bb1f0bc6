"""Unit costs: what a stage costs before it does anything, and for each unit of its work.

Takes runs on record, each a work and a cost by stage; gives a line through them, stage by stage. Does not look at any
store and knows no parameters: what a unit is, the caller says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

STARTING = "base"
"""The stage that does next to nothing but start: its seconds stand for everybody's start where one run is all there
is."""


@dataclass(frozen=True, slots=True)
class StageCost:
    """What one stage of a run did and took."""

    work: float
    """In the stage's own units."""
    seconds: float
    stored: float
    """Bytes of its outputs."""


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """One retrain on record."""

    name: str
    """Profile and commit."""
    parameters: float
    """Of the model."""
    stages: Mapping[str, StageCost]


@dataclass(frozen=True, slots=True)
class UnitCost:
    """A stage's cost: fixed + work * unit."""

    fixed_seconds: float
    unit_seconds: float
    fixed_bytes: float
    unit_bytes: float

    def seconds(self, work: float) -> float:
        return self.fixed_seconds + self.unit_seconds * work

    def stored(self, work: float) -> float:
        return self.fixed_bytes + self.unit_bytes * work


def unit_costs(runs: Sequence[MeasuredRun]) -> dict[str, UnitCost]:
    """The costs that explain the runs best, by stage.

    Raises:
        ValueError: there are no runs, or a run lacks a stage that another has.
    """
    if not runs:
        raise ValueError("no run on record")
    stages = list(runs[0].stages)
    for run in runs:
        if list(run.stages) != stages:
            raise ValueError(f"run {run.name} has the stages {', '.join(run.stages)}, another {', '.join(stages)}")
    start = min(run.stages[STARTING].seconds for run in runs) if STARTING in stages else 0.0
    return {stage: _unit_cost([run.stages[stage] for run in runs], start) for stage in stages}


def _unit_cost(costs: Sequence[StageCost], start: float) -> UnitCost:
    work = [cost.work for cost in costs]
    fixed_seconds, unit_seconds = _line(work, [cost.seconds for cost in costs], start)
    fixed_bytes, unit_bytes = _line(work, [cost.stored for cost in costs], 0.0)
    return UnitCost(fixed_seconds, unit_seconds, fixed_bytes, unit_bytes)


def _line(work: Sequence[float], costs: Sequence[float], start: float) -> tuple[float, float]:
    """(fixed, unit) by least squares of relative errors, neither below 0; with one amount of work, fixed is `start`.

    Weights of 1 / cost^2 let a short run count as much as a long one.
    """
    if max(work) == min(work):
        mean = sum(costs) / len(costs)
        fixed = min(start, mean) if max(work) > 0 else mean
        return fixed, (mean - fixed) / max(work) if max(work) > 0 else 0.0
    weights = [1 / max(cost, 1e-9) ** 2 for cost in costs]
    mass = sum(weights)
    mean_work = sum(w * x for w, x in zip(weights, work, strict=True)) / mass
    mean_cost = sum(w * y for w, y in zip(weights, costs, strict=True)) / mass
    covariance = sum(w * (x - mean_work) * (y - mean_cost) for w, x, y in zip(weights, work, costs, strict=True))
    variance = sum(w * (x - mean_work) ** 2 for w, x in zip(weights, work, strict=True))
    unit = max(0.0, covariance / variance)
    fixed = mean_cost - unit * mean_work
    if fixed >= 0:
        return fixed, unit
    through = sum(w * x * y for w, x, y in zip(weights, work, costs, strict=True))
    return 0.0, through / sum(w * x * x for w, x in zip(weights, work, strict=True))
