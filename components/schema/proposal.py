"""Candidate actions with priors, the request for them, and the choice among decisions.

Takes nothing; gives the records. Samples nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from components.schema.trajectory import Action, State


@dataclass(frozen=True, slots=True)
class Choice:
    """What a policy may do at a state, and how much it would."""

    probs: Mapping[str, float]
    """P of each decision that is open; sums to 1."""
    context_tokens: int | None = None
    """Tokens of the state that the policy read; None when they were not counted."""


@dataclass(frozen=True, slots=True)
class ProposalRequest:
    """A state at which candidate actions are wanted."""

    state: State
    seed: int
    """Of everything that is sampled at this state."""
    decision: str | None = None
    """None: a few samples of every decision. Else one more sample of this one."""
    drawn: int = 0
    """Samples of that decision drawn before, so that the next one is another."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """One action that a policy suggests at a state; what a search may follow."""

    action: Action
    prior: float
    """The policy's weight of this action among those proposed at once (P(decision) times the share of this argument
    sample); never negative, need not sum to 1."""
    context_tokens: int | None = None
    """Tokens of the state that the policy read before the action; None when it was not counted."""
