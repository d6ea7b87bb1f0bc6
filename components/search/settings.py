"""Settings of self-play. Takes values from `params.yaml`; gives a frozen, checked record. Does not search."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Family = Literal["fact", "number", "two_hop", "compute", "fact_compute", "chat", "decoy", "puzzle", "own"]


class SelfplaySettings(BaseModel):
    """How many problems are searched, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    families: tuple[Family, ...] = Field(default=("puzzle", "two_hop"), min_length=1)
    """Problem families that are searched; only their train split is used."""
    problems: int = Field(default=64, ge=1)
    """Problems searched, taken evenly from the families; one tree each."""
    simulations: int = Field(default=12, ge=1)
    """Select-expand-evaluate-backup passes per tree, after the root was evaluated."""
    c_puct: float = Field(default=1.25, gt=0.0)
    """Weight of prior and visit counts against value (AlphaZero, Silver et al. 2018)."""
    arguments_per_tool: int = Field(default=3, ge=1)
    """Argument samples per tool at a node; progressive widening opens them one by one as the node is visited."""
    max_depth: int = Field(default=4, ge=1)
    """Most actions from the root to a leaf; an unfinished leaf there counts as a failure."""
    trees: int = Field(default=16, ge=1)
    """Trees grown in lockstep (B), the model asked once a round for a leaf of each; also the size of a saved block."""
    min_visits: int = Field(default=8, ge=1)
    """Distillation trusts a tree's solve rate only from this many visits of its root."""
    temperature: float = Field(default=1.0, gt=0.0)
    """Temperature at which arguments are sampled."""
    price_lambda: float = Field(default=0.1, ge=0.0)
    """Weight of one cost unit against a correct answer (worth 1)."""
    seed: int = Field(default=0, ge=0)
    """Every tree's seeds are derived from this, the problem's id and the node's number."""
