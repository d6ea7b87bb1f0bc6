"""What a search asks of the other houses, as functions. Takes nothing; gives `Verbs`.

Implements nothing: policy, environment, checkers and prices belong to their own houses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from components.schema.cost import Cost
from components.schema.problem import Problem
from components.schema.proposal import Choice, Proposal, ProposalRequest
from components.schema.trajectory import Action, State, Transition
from components.search.pen import Pen, Together
from components.search.worth import Value


class Act(Protocol):
    """Samples one turn at each of several states."""

    def __call__(self, states: Sequence[State], *, seeds: Sequence[int]) -> Sequence[Proposal]:
        """One action a state, with the tokens that were read."""


class StepMany(Protocol):
    """Acts in several states at once (`components.environment.step.step_many` with its toolbox bound)."""

    def __call__(
        self, states: Sequence[State], actions: Sequence[Action], *, prompt_tokens: Sequence[int]
    ) -> Sequence[tuple[State, Transition]]:
        """The state after each action, and what the action did; tool calls run together."""


@dataclass(frozen=True, slots=True)
class Verbs:
    """The verbs of a search."""

    propose: Callable[[Sequence[ProposalRequest]], Sequence[Sequence[Proposal]]]
    """Candidate actions for each request, all asked of the policy together."""
    value: Value
    """Estimates of unfinished states."""
    judge: Callable[[Problem, str], bool]
    """Whether an answer is correct."""
    step_many: StepMany
    units: Callable[[Cost], float]
    """A cost in units of the price sheet."""
    forget: Callable[[], None] = lambda: None
    """Drops what the policy holds of other searches: what it has read before decides how its numbers are rounded."""
    act: Act | None = None
    """The policy alone, for sampling in place of searching; None where nobody samples."""
    decide: Callable[[Sequence[State]], Sequence[Choice]] | None = None
    """Decisions with their probabilities, nothing written; None where samples are written in advance."""
    charge: Callable[[str], Cost] = lambda decision: Cost()
    """What a decision costs at least; nothing where nobody knows."""
    pen: Callable[[int], Pen] | None = None
    """Opens a pen that goes on writing for some of so many trees while others are ahead; None where nothing of the kind
    is at hand, and trees wait for one another."""

    def open_pen(self, trees: int) -> Pen:
        """What writes for `trees` trees."""
        return self.pen(trees) if self.pen is not None else Together(self.propose)
