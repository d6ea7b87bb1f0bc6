"""Candidate actions with priors, and the request for them. Takes nothing; gives the records. Samples nothing."""

from __future__ import annotations

from dataclasses import dataclass

from components.schema.trajectory import Action, State


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
