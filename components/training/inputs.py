"""What one reinforcement step is given. Takes nothing; gives the records. Computes no loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from components.schema.group import Group
from components.training.episodes import Episode
from components.training.examples import Example
from components.training.preference import ActionPair


@dataclass(frozen=True, slots=True)
class Material:
    """What one step learns from."""

    groups: tuple[Group, ...]
    arguments: tuple[Example, ...]
    """Sampled siblings, `weight` = advantage; only those with an advantage."""
    references: tuple[Example, ...]
    """Contexts with tool responses that hold the reference, followed by the reference."""
    replay: tuple[int, ...]
    """Indices into the replay pool."""
    episodes: tuple[tuple[Episode, ...], ...] = ()
    """The groups' trajectories turn by turn, group by group; only for forms with a critic."""
    pairs: tuple[ActionPair, ...] = ()
    """Actions of which one is preferred, with the clone's log-probabilities."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A replayed example with the clone's final hidden states at its answer tokens [answers, hidden]."""

    example: Example
    clone_hidden: Tensor


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens of the openings."""

    opening: tuple[int, ...]
    names: Mapping[str, tuple[int, ...]]
