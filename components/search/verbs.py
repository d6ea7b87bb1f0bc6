"""What a search asks of the other houses, as functions. Takes nothing; gives `Verbs` and the plainest value.

Implements nothing else: policy, environment, checkers and prices belong to their own houses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from components.schema.cost import Cost
from components.schema.problem import Problem
from components.schema.proposal import Proposal
from components.schema.trajectory import Action, State, Transition


class Propose(Protocol):
    """Asks the policy for candidate actions."""

    def __call__(self, states: Sequence[State], *, seeds: Sequence[int]) -> Sequence[Sequence[Proposal]]:
        """Candidate actions for each state, each state sampled under its own seed."""


class StepMany(Protocol):
    """Acts in several states at once (`components.environment.step.step_many` with its toolbox bound)."""

    def __call__(
        self, states: Sequence[State], actions: Sequence[Action], *, prompt_tokens: Sequence[int]
    ) -> Sequence[tuple[State, Transition]]:
        """The state after each action, and what the action did; tool calls run together."""


UNINFORMED = 0.25
"""Value of an unfinished state where no critic is given: better than a failure, worse than a success."""


def uninformed(states: Sequence[State]) -> Sequence[float]:
    """The value of someone who knows nothing: every unfinished state is as good as any other."""
    return [UNINFORMED] * len(states)


@dataclass(frozen=True, slots=True)
class Verbs:
    """The five verbs of a search."""

    propose: Propose
    value: Callable[[Sequence[State]], Sequence[float]]
    """Estimated chance, in [0, 1], that a state ends in a correct answer."""
    judge: Callable[[Problem, str], bool]
    """Whether an answer is correct."""
    step_many: StepMany
    units: Callable[[Cost], float]
    """A cost in units of the price sheet."""
