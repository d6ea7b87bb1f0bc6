"""Settings of self-play. Takes values from `params.yaml`; gives a frozen, checked record. Does not search."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

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
    selection: Literal["puct", "gumbel"] = "puct"
    """Rule by which a simulation chooses its way: PUCT, or Gumbel sequential halving (for few simulations)."""
    c_puct: float = Field(default=1.25, gt=0.0)
    """PUCT: weight of prior and visit counts against value (AlphaZero, Silver et al. 2018)."""
    considered: int = Field(default=8, ge=1)
    """Gumbel: actions of the root among which the simulations are spent (m of Danihelka et al. 2022)."""
    visit_scale: float = Field(default=50.0, ge=0.0)
    """Gumbel: c_visit, how much value counts before anything was visited."""
    value_scale: float = Field(default=0.05, gt=0.0)
    """Gumbel: c_scale, weight of values against log priors; small, because returns are not stretched to [0, 1]."""
    arguments_per_tool: int = Field(default=0, ge=0)
    """Samples of every decision that are written at a new node; 0: each is written when a simulation first goes there,
    so that no token is spent on what is never tried."""
    most_arguments: int = Field(default=8, ge=1)
    """Samples of a decision up to which new ones are drawn as visits grow; none where it is smaller."""
    widening: float = Field(default=0.5, gt=0.0, le=1.0)
    """A node visited N times opens the first N ** widening samples of each decision (progressive widening)."""
    max_depth: int = Field(default=4, ge=1)
    """Most actions from the root to a leaf; an unfinished leaf there counts as a failure."""
    trees: int = Field(default=16, ge=1)
    """Trees grown in lockstep (B), the model asked once a round for a leaf of each; also the size of a saved block."""
    leaves: int = Field(default=1, ge=1)
    """Leaves that a tree contributes to a round; more than one needs virtual loss and changes the tree."""
    teacher: Literal["search", "sampling"] = "search"
    """What is taught of a problem: the cheapest correct path of its tree, or the cheapest correct play of as many as
    the tree's tokens and calls pay for (rejection sampling at matched compute). Trees are grown for both."""
    value: Literal["even", "likelihood"] = "even"
    """Worth of an unfinished state: the same for all, or how likely the policy finds the reference there."""
    prune_below: float = Field(default=0.0, ge=0.0, le=1.0)
    """States whose chance of success is estimated lower are dead ends; 0 stops nothing."""
    stop_outdone: bool = False
    """Whether states from which no answer can be cheaper than one that was found are left, too; this loses nothing."""
    least_gain: float = Field(default=0.0, ge=0.0)
    """Return by which an answer has to better the one that was found, for `stop_outdone` not to leave its state; the
    best answer of a whole tree returns at most this much more. 0: every better answer is looked for."""
    audit_share: float = Field(default=0.05, ge=0.0, le=1.0)
    """Share of the pruned states that are searched after all, to know how often pruning was wrong."""
    min_visits: int = Field(default=8, ge=1)
    """Nodes with fewer visits teach nothing: their rows have no targets, and a root's solve rate is not trusted."""
    temperature: float = Field(default=1.0, gt=0.0)
    """Temperature at which arguments are sampled."""
    price_lambda: float = Field(default=0.1, ge=0.0)
    """Weight of one cost unit against a correct answer (worth 1)."""
    seed: int = Field(default=0, ge=0)
    """Every tree's seeds are derived from this, the problem's id and the node's number."""

    @model_validator(mode="after")
    def _gains_need_stopping(self) -> Self:
        if self.least_gain and not self.stop_outdone:
            raise ValueError("least_gain stops nothing without stop_outdone: true")
        return self

    @property
    def least_saving(self) -> float:
        """`least_gain` in cost units; where cost does not count, no saving is enough."""
        if self.least_gain == 0.0:
            return 0.0
        return self.least_gain / self.price_lambda if self.price_lambda else math.inf
