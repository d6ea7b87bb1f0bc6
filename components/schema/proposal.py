"""A candidate action with its prior. Takes nothing; gives `Proposal`. Does not sample or score anything."""

from __future__ import annotations

from dataclasses import dataclass

from components.schema.trajectory import Action


@dataclass(frozen=True, slots=True)
class Proposal:
    """One action that a policy suggests at a state; what a search may follow."""

    action: Action
    prior: float
    """The policy's weight of this action among those proposed at the state (P(decision) times the share of this
    argument sample); never negative, need not sum to 1."""
    context_tokens: int | None = None
    """Tokens of the state that the policy read before the action; None when it was not counted."""
