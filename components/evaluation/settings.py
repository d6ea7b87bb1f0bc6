"""Settings of evaluation and of the gate.

Takes values from `params.yaml` (sections `evaluate` and `gate`); gives frozen, validated settings. Does not read files.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class EvaluateSettings(BaseModel):
    """How the policies are judged on the test split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resamples: int = Field(default=10_000, ge=200, le=100_000)
    """Resamples of problem groups behind every interval."""
    batch_size: int = Field(default=400, ge=1, le=4096)
    """Problems played together; after each batch the trajectories are saved, so a killed run continues."""
    max_problems: int | None = Field(default=None, ge=1)
    """Test problems played, spread evenly over the split; None plays all of them."""
    judged_model: Literal["clone", "reinforced", "final"] = "final"
    """The last model played; its forced branches say what each decision was worth. Experiments stop before `final`."""
    sample_trajectories: int = Field(default=20, ge=0, le=500)
    """Trajectories of the final policy shown in the HTML report."""


class GateSettings(BaseModel):
    """When a challenger replaces the champion: superior, or cheaper and not inferior."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accuracy_margin: float = Field(default=0.02, ge=0.0, le=1.0)
    """Largest loss of accuracy that still counts as "not inferior" when the challenger is cheaper."""
    invalid_margin: float = Field(default=0.01, ge=0.0, le=1.0)
    """Largest rise of the invalid-call rate that is let through."""
    slice_margin: float = Field(default=0.03, ge=0.0, le=1.0)
    """No slice may lose more accuracy than this with its whole interval."""
    minimum_slice_problems: int = Field(default=10, ge=1)
    """Slices with fewer problems are reported but guard nothing."""
    resamples: int = Field(default=10_000, ge=200, le=100_000)
    """Bootstrap resamples behind each difference."""
    seed: int = Field(default=0, ge=0)
    """Seed of the bootstrap: the same rows give the same verdict."""
