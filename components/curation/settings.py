"""Settings of the stages corpus and curate. Takes nothing; gives validated values. Does not read params.yaml."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class CorpusSettings(BaseModel):
    """How the Factbook becomes passages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_words: int = Field(default=60, ge=20, le=120)
    """Words of a passage at most, title not counted."""
    decoy_share: float = Field(default=0.03, ge=0.0, le=0.2)
    """Share of the index that is decoy pages."""


class FamilyWeights(BaseModel):
    """Relative sizes of the families; each split is divided by them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fact: float = Field(default=80, ge=0)
    number: float = Field(default=50, ge=0)
    two_hop: float = Field(default=30, ge=0)
    compute: float = Field(default=50, ge=0)
    fact_compute: float = Field(default=20, ge=0)
    chat: float = Field(default=50, ge=0)
    decoy: float = Field(default=20, ge=0)
    puzzle: float = Field(default=20, ge=0)


class CurateSettings(BaseModel):
    """How problems are drawn and annotations filtered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[str, ...] = ()
    """Your own problems, all taken beside the generated ones: JSON Lines files or dataset folders below `own/` or
    `data/annotations/`, or ids of datasets (`name@revision`); a row is an `OwnProblem`."""

    train_size: int = Field(default=640, ge=8)
    """Train problems."""
    validation_size: int = Field(default=64, ge=8)
    """Validation problems."""
    test_size: int = Field(default=320, ge=8)
    """Test problems."""
    weights: FamilyWeights = FamilyWeights()
    """Relative sizes of the families."""
    split_seed: int = Field(default=0, ge=0)
    """Seed of the split by group; the seed annotations are made for 0."""
    duplicate_similarity: float = Field(default=0.9, gt=0.5, le=1.0)
    """Jaccard similarity of word sets from which an annotation is a near-duplicate of an earlier one."""
    tau_keep: float = Field(default=0.1, ge=0.0)
    """Nats per token by which calls must lower the loss of the reference to be kept."""
    tau_abstain: float = Field(default=-0.5, le=0.0)
    """At or below this gain the calls did harm: the base model's own answer is learnt instead, if it is right."""
    most_demonstrations: int | None = Field(default=None, ge=1)
    """Demonstrations that are replayed and scored, drawn evenly from those that match a train problem; None: all. To
    score one costs as much as to learn from it, and many problems may be there for reinforcement alone."""
    direct_size: int = Field(default=160, ge=0)
    """Train problems outside fact and chat for which the base model's own answer is asked."""
    minimum_f1: float = Field(default=0.5, ge=0.0, le=1.0)
    """Word overlap with the base model's own answer that passes a chat problem."""
    left_out_annotators: tuple[str, ...] = ()
    """Annotators whose rows are quarantined, as if they had not been written."""
    chat_max_words: int = Field(default=16, ge=1)
    """A chat problem is kept only if the base model's own answer is a whole sentence of at most so many words."""
