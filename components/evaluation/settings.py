"""Settings of evaluation and of the gate.

Takes values from `params.yaml` (sections `evaluate` and `gate`); gives frozen, validated settings. Does not read files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from components.evaluation.spending import Spending


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
    forced: bool = True
    """Whether every first decision is forced once, for need, regret and the oracle; without it an evaluation takes half
    the time and tells accuracy, calls and cost."""
    prices: tuple[float, ...] = ()
    """Prices at which the last model is played besides; it must have been trained to follow one
    (`reinforce.price_conditioned`)."""
    sample_trajectories: int = Field(default=20, ge=0, le=500)
    """Trajectories of the final policy shown in the HTML report."""
    traces: int = Field(default=20, ge=0, le=500)
    """How many of those are also logged to MLflow as traces, a span a tool call."""


class GateSettings(BaseModel):
    """When a challenger replaces the champion: superior, or cheaper and not inferior."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accuracy_margin: float = Field(default=0.02, ge=0.0, le=1.0)
    """Largest loss of accuracy that still counts as "not inferior" when the challenger is cheaper."""
    invalid_margin: float = Field(default=0.01, ge=0.0, le=1.0)
    """Largest rise of the invalid-call rate that is let through."""
    slice_margin: float = Field(default=0.03, ge=0.0, le=1.0)
    """No slice may lose more accuracy than this with its whole interval."""
    slice_margins: Mapping[str, Annotated[float, Field(ge=0.0, le=1.0)]] = {}
    """Slice name to its own margin, where it is not `slice_margin`."""
    slice_rule: Literal["harm", "proof"] = "harm"
    """harm: a slice stops a promotion when it is shown to lose more than its margin. proof: it also withholds one until
    it is shown to lose no more (needs margins that the slice's number of problems can show)."""
    minimum_slice_problems: int = Field(default=10, ge=1)
    """Slices with fewer problems are reported but guard nothing."""
    unsafe_margin: float = Field(default=0.0, ge=0.0)
    """Largest rise of calls refused for safety, per problem, that is let through."""
    p95_cost_margin: float = Field(default=1.0, ge=0.0)
    """Largest rise of the 95th percentile of cost that is let through, in units of the price sheet (one search = 1)."""
    p95_seconds_margin: float = Field(default=0.5, ge=0.0)
    """Largest rise of the 95th percentile of recorded seconds that is let through."""
    alpha: float = Field(default=0.05, gt=0.0, lt=0.5)
    """Chance of promoting an equal, over all looks at one set of problems against one champion; half is for "superior",
    half for "cheaper and not inferior"."""
    looks: int = Field(default=10, ge=1, le=1000)
    """Challengers that may meet the same champion on the same problems; 1 asks for fresh problems each time."""
    spending: Spending = "pocock"
    """How alpha is shared among the looks: somewhat evenly (pocock), or saved for the last ones (obrien_fleming)."""
    resamples: int = Field(default=10_000, ge=200, le=100_000)
    """Bootstrap resamples behind the percentiles."""
    seed: int = Field(default=0, ge=0)
    """Seed of the bootstrap: the same rows give the same verdict."""
