"""From rewards to what is learnt. Takes scored groups; gives values of decisions, targets and advantages. No model.

Does not divide by a group's standard deviation unless it is told to: with a cost in the reward that collapses to no
calls (learning.md 0.2), which is what the switch is there to show.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from components.schema.group import Group
from components.training.settings import Normaliser

LEAST_ADVANTAGE = 0.01
"""Siblings that differ by less (the likelihood of the reference wobbles) are not worth a backward pass."""


def decision_values(group: Group, normaliser: Normaliser = "none") -> dict[str, float]:
    """Q-hat(root, d): mean reward of the branches that were forced to begin with d."""
    rewards: dict[str, list[float]] = {}
    values = standardised(group.rewards) if normaliser == "group_std" else group.rewards
    for trajectory, reward in zip(group.trajectories, values, strict=True):
        rewards.setdefault(trajectory.forced[0], []).append(reward)
    return {decision: sum(values) / len(values) for decision, values in rewards.items()}


def decision_target(values: Mapping[str, float], temperature: float, *, floor: float = 0.0) -> dict[str, float]:
    """(1 - floor) * softmax(Q / tau) + floor / K: the all-actions target without a prior (a clone's near-certain prior
    outweighs any Q gap); `floor` is spread evenly, so that no decision vanishes."""
    best = max(values.values())
    weights = {decision: math.exp((value - best) / temperature) for decision, value in values.items()}
    whole, least = sum(weights.values()), floor / len(weights)
    return {decision: (1.0 - floor) * weight / whole + least for decision, weight in weights.items()}


def at_stake(values: Mapping[str, float]) -> float:
    """How much the decision matters here: the best value less the worst.

    Weighing each state's cross-entropy by it follows what the all-actions gradient does (Asadi et al. 2017): states
    where every decision fails alike, which differ by the price of a call only, do not outvote those that one decision
    alone solves.
    """
    return max(values.values()) - min(values.values())


def leave_one_out(rewards: Sequence[float]) -> tuple[float, ...]:
    """Reward minus the mean of the siblings' rewards; all zero for a single sample (Kool et al. 2019)."""
    if len(rewards) < 2:
        return (0.0,) * len(rewards)
    whole = sum(rewards)
    return tuple(reward - (whole - reward) / (len(rewards) - 1) for reward in rewards)


def standardised(rewards: Sequence[float]) -> tuple[float, ...]:
    """(R - mean) / (std + 1e-4), the group normalisation of GRPO (Shao et al. 2024) as trainers ship it."""
    if len(rewards) < 2:
        return (0.0,) * len(rewards)
    mean, spread = statistics.fmean(rewards), statistics.stdev(rewards)
    return tuple((reward - mean) / (spread + 1e-4) for reward in rewards)


def advantages(group: Group, normaliser: Normaliser = "none") -> tuple[float, ...]:
    """Advantage of every trajectory among its siblings (same branch, same state): leave-one-out, or standardised."""
    compared = standardised if normaliser == "group_std" else leave_one_out
    values = [0.0] * len(group.trajectories)
    branches: dict[str, list[int]] = {}
    for index, trajectory in enumerate(group.trajectories):
        branches.setdefault(trajectory.forced[0], []).append(index)
    for members in branches.values():
        for index, value in zip(members, compared([group.rewards[i] for i in members]), strict=True):
            values[index] = value
    return tuple(values)
