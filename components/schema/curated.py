"""Curated annotations other than demonstrations. Takes nothing; gives the records. Does not filter anything.

A demonstration is a `Trajectory` whose policy is `human`; these two have no trajectory of their own."""

from __future__ import annotations

from dataclasses import dataclass

from components.schema.problem import Reference
from components.schema.trajectory import Action, Transition


@dataclass(frozen=True, slots=True)
class ActionPreference:
    """Which of two next actions is better at a state."""

    preference_id: str
    """The annotation's id."""
    problem_id: str
    steps: tuple[Transition, ...]
    """Calls made before the choice, with their results."""
    chosen: Action
    rejected: Action
    confidence: float
    """Probability that `chosen` is better, 0.5 to 1."""


@dataclass(frozen=True, slots=True)
class ReferencePair:
    """A prompt and the output we want, without any action."""

    pair_id: str
    """The annotation's id."""
    problem_id: str
    reference: Reference
