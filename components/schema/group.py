"""Trajectories of one problem under one policy. Takes nothing; gives `Group`. Computes no advantage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from components.schema.problem import Problem
from components.schema.trajectory import Trajectory


@dataclass(frozen=True, slots=True)
class Group:
    """All branches tried at the root of one problem, scored."""

    problem: Problem
    context_ids: tuple[int, ...]
    """Tokens of the root state, shared by every branch."""
    probs: Mapping[str, float]
    """The policy's P over decisions at the root."""
    trajectories: tuple[Trajectory, ...]
    """`forced[0]` of each names its branch; several with the same name are siblings sampled from the same state."""
    rewards: tuple[float, ...]
    """Total reward of each trajectory."""
    likelihoods: tuple[float | None, ...]
    """1/PPL of the reference given each trajectory's tool responses; None when not scored."""
