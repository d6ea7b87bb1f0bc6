"""Weights of the reward parts. Takes params.yaml's section `reward`; gives frozen settings. Computes nothing."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class RewardSettings(BaseModel):
    """likelihood_weight * likelihood + correct_weight * correct - price * cost - malformed_weight * malformed"""

    model_config = ConfigDict(frozen=True, extra="forbid")

    likelihood: Literal["inv_ppl", "neg_ppl"] = "inv_ppl"
    """Form of the reference's likelihood: 1/PPL in (0, 1], or the article's -PPL."""
    likelihood_weight: float = Field(default=0.3, ge=0)
    correct_weight: float = Field(default=1.0, ge=0)
    price: float = Field(default=0.1, ge=0)
    """lambda: reward lost per unit of cost under the price sheet."""
    max_cost: float = Field(default=5.0, gt=0)
    """Cost, in units, above which no more is subtracted; price * max_cost stays below correct_weight."""
    malformed_weight: float = Field(default=0.2, ge=0)
