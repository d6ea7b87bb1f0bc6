"""Settings of the policy. Takes params.yaml's `policy` section; gives a frozen, validated object. Loads nothing."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class PolicySettings(BaseModel):
    """How the model is held and how much it does at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Compute type of the forward pass."""
    slots: int = Field(default=128, ge=1, le=1024)
    """Sequences decoded side by side; their key-value cache takes about 23 kB a token (SmolLM2-135M in bf16). With 320
    an evaluation was a tenth faster and took 10 GB."""
    prefill_tokens: int = Field(default=6144, ge=64)
    """Most padded tokens in one forward; bounds peak memory."""
    kept_tokens: int = Field(default=32768, ge=0)
    """Most tokens of a search whose computation is kept beside the slots, at the same 23 kB a token."""
    threads: int = Field(default=2, ge=1)
    """Threads of the tensor library; part of what makes a run repeatable."""
