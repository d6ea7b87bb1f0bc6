"""Weights of the reward parts. Takes params.yaml's section `reward`; gives frozen settings. Computes nothing."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Form = Literal["inv_ppl", "neg_ppl", "gain"]
Mode = Literal["kept", "potential"]


class RewardSettings(BaseModel):
    """likelihood_weight * likelihood + correct_weight * correct + preference_weight * preference
    - price * min(time_weight * time + money_weight * money, max_cost) - malformed_weight * malformed"""

    model_config = ConfigDict(frozen=True, extra="forbid")

    likelihood: Form = "inv_ppl"
    """Phi, what the reference's likelihood is worth at a state: inv_ppl is 1/PPL in (0, 1]; neg_ppl the article's -PPL;
    gain is 1/PPL less what it was before any tool response."""
    likelihood_mode: Mode = "kept"
    """kept: Phi at the end is part of the reward. potential: every step earns Phi(s') - Phi(s) with Phi = 0 once the
    play is over, so that the best policy is that of the other parts alone."""
    likelihood_weight: float = Field(default=0.3, ge=0)
    distractors: int = Field(default=0, ge=0, le=16)
    """Wrong answers of the same family whose mean Phi is subtracted; each costs the scorer one more span a state."""
    max_perplexity: float = Field(default=20.0, gt=1)
    """PPL above which neg_ppl falls no further: one bad token must not outweigh a batch."""
    correct_weight: float = Field(default=1.0, ge=0)
    preference_weight: float = Field(default=0.0, ge=0)
    """Of the annotators' verdict on the actions taken, -1 to 1."""
    price: float = Field(default=0.1, ge=0)
    """lambda: reward lost per unit of cost under the price sheet."""
    time_weight: float = Field(default=1.0, ge=0)
    """Of the part of the cost that is waiting."""
    money_weight: float = Field(default=1.0, ge=0)
    """Of the part of the cost that is paid."""
    max_cost: float = Field(default=5.0, gt=0)
    """Cost, in units, above which no more is subtracted; price * max_cost stays below correct_weight."""
    nested_costs: bool = True
    """Whether what nested calls spend counts against their caller. False hides it from the reward, though it is still
    recorded: only for the experiment that shows what comes of it."""
    malformed_weight: float = Field(default=0.2, ge=0)
