"""From rewards to what is learnt. Takes scored groups; gives values of decisions, targets and advantages. No model.

Never divides by a group's standard deviation: with a cost in the reward that collapses to no calls (learning.md 0.2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from components.schema.group import Group

LEAST_ADVANTAGE = 0.01
"""Siblings that differ by less (the likelihood of the reference wobbles) are not worth a backward pass."""


def decision_values(group: Group) -> dict[str, float]:
    """Q-hat(root, d): mean reward of the branches that were forced to begin with d."""
    rewards: dict[str, list[float]] = {}
    for trajectory, reward in zip(group.trajectories, group.rewards, strict=True):
        rewards.setdefault(trajectory.forced[0], []).append(reward)
    return {decision: sum(values) / len(values) for decision, values in rewards.items()}


def decision_target(values: Mapping[str, float], temperature: float) -> dict[str, float]:
    """softmax(Q / tau): the all-actions target without a prior (a clone's near-certain prior outweighs any Q gap)."""
    best = max(values.values())
    weights = {decision: math.exp((value - best) / temperature) for decision, value in values.items()}
    return {decision: weight / sum(weights.values()) for decision, weight in weights.items()}


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


def advantages(group: Group) -> tuple[float, ...]:
    """Leave-one-out advantage of every trajectory among its siblings (same branch, same state)."""
    values = [0.0] * len(group.trajectories)
    branches: dict[str, list[int]] = {}
    for index, trajectory in enumerate(group.trajectories):
        branches.setdefault(trajectory.forced[0], []).append(index)
    for members in branches.values():
        for index, value in zip(members, leave_one_out([group.rewards[i] for i in members]), strict=True):
            values[index] = value
    return tuple(values)
