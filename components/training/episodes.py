"""Trajectories turn by turn, as tokens: what critics learn from. Takes nothing; gives the record and its rewards.

Encodes and computes nothing else: `material.Encoder` makes episodes, `returns` their targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from components.schema.trajectory import Trajectory
from components.training.examples import Example


@dataclass(frozen=True, slots=True)
class Episode:
    """One trajectory."""

    states: tuple[tuple[int, ...], ...]
    """Tokens that the policy had read before each turn."""
    turns: tuple[tuple[int, ...], ...]
    """Tokens of each turn; none where a turn was refused."""
    rewards: tuple[float, ...]
    """Reward of each turn; they sum to the reward of the trajectory."""
    decision: str
    """The first decision: the branch of its group."""
    arguments: Example
    """The argument tokens of its turns, as a policy gradient learns them; `weight` is 1."""

    def actions(self) -> list[tuple[int, ...]]:
        """What a critic reads of each turn: its state, then the turn itself."""
        return [(*state, *turn) for state, turn in zip(self.states, self.turns, strict=True)]


def turn_rewards(trajectory: Trajectory, reward: float) -> tuple[float, ...]:
    """Rewards of the turns, so that they sum to `reward`: what no earlier turn was given belongs to the last one."""
    earlier: Sequence[float] = [transition.reward or 0.0 for transition in trajectory.transitions[:-1]]
    return (*earlier, reward - sum(earlier))


def first_rows(episodes: Sequence[Episode]) -> list[int]:
    """Where each episode begins when the turns of all lie one after another."""
    return list(accumulate((len(episode.rewards) for episode in episodes), initial=0))[: len(episodes)]


def positions_by_decision(group: Sequence[Episode]) -> dict[str, list[int]]:
    """Which episodes of a group began with which decision."""
    branches: dict[str, list[int]] = {}
    for position, episode in enumerate(group):
        branches.setdefault(episode.decision, []).append(position)
    return branches


def mean_by_decision(group: Sequence[Episode], values: Sequence[float]) -> dict[str, float]:
    """Mean of the values of the episodes that began with each decision."""
    return {
        decision: sum(values[i] for i in members) / len(members)
        for decision, members in positions_by_decision(group).items()
    }
