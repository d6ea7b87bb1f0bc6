"""What an experiment is: a claim, variants of the parameters, and a function from what they left to measured rows.

Takes nothing; gives records. A variant is the one DAG under other parameters, for several seeds. Runs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from components.evaluation.rows import EvalRow
from components.schema.trajectory import Trajectory
from components.search.trial import Attempt

Model = Literal["clone", "reinforced", "final"]


@dataclass(frozen=True, slots=True)
class Variant:
    """The pipeline under parameters of its own."""

    name: str
    meaning: str
    last: Model = "reinforced"
    """The last model that is made and played."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """`section.key` of params.yaml to the value it has here."""
    forced: bool = False
    """Whether the last model's first decisions are also forced, which measures need and the oracle."""
    trial: bool = False
    """Whether search and its rivals are tried on held-out problems afterwards."""


def recipe(name: str = "recipe", meaning: str = "the recipe as it is") -> Variant:
    """The pipeline as it is, to its end: one and the same variant in every experiment that asks for it."""
    return Variant(name, meaning, last="final", forced=True)


UNGUARDED: Mapping[str, Any] = {"reinforce.call_rate_low": 0.0}
"""For claims about how often tools are called: the guard against a collapse would end the run that is to be seen."""


@dataclass(frozen=True, slots=True)
class Played:
    """What one variant left for one seed."""

    rows: Mapping[str, tuple[EvalRow, ...]]
    """By policy of the report."""
    trajectories: tuple[Trajectory, ...]
    steps: tuple[Mapping[str, float], ...]
    """Metrics of every reinforcement step."""
    attempts: tuple[Attempt, ...] = ()
    """Of the trial of search, where there was one."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Of the same trial: how much was stopped, simulations a second."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One row of a result (DESIGN 8)."""

    measure: str
    value: float
    low: float
    """`low` and `high`: 95 % interval over problems of all seeds, or the least and the most of `n` repeats."""
    high: float
    unit: str
    bar: str | None
    """What was asked for, as ">= 4", or "interval > 0" of the whole interval; None where nothing was."""
    n: int
    """Problems behind the figure, each counted once a seed; or repeats."""
    seeds: int = 1


Found = Mapping[str, Mapping[int, Played]]
"""Variant, then seed, to what it left."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """A claim and how it is tested."""

    name: str
    claim: str
    variants: tuple[Variant, ...]
    analyse: Callable[[Found], Sequence[Measured]]
    draw: Callable[[Found], str] | None = None
    """SVG text of its curves, beside the picture of its figures; None where it has no curve."""
