"""Rewards of one play under every price. Takes scored groups; gives them as they would be under other prices.

A reward is a pure function of the record, so the branches tried at a root say what each decision is worth at any
lambda: nothing is rolled out again and no model is asked. What a play did after its first decision stays what it was;
under another price the policy might have gone on differently (off-policy in the later turns only).
"""

from __future__ import annotations

from dataclasses import replace

from components.reward.rescore import rescore, total_of
from components.reward.settings import RewardSettings
from components.schema.group import Group
from components.schema.problem import Problem
from components.tools.prices import PriceSheet


def reward_for(problem: Problem, settings: RewardSettings, *, warm: float = 1.0) -> RewardSettings:
    """The settings with the price that the problem tells, else their own; `warm`: share of it that counts already."""
    price = settings.price if problem.price is None else problem.price
    return settings.model_copy(update={"price": price * warm})


def at_price(
    group: Group, problem: Problem, context_ids: tuple[int, ...], *, prices: PriceSheet, settings: RewardSettings
) -> Group:
    """The group as it would be had its problem told the price of `problem`, whose root state reads `context_ids`.

    Raises:
        ValueError: a trajectory of the group has no reward.
    """
    again = [rescore(one, prices=prices, settings=reward_for(problem, settings)) for one in group.trajectories]
    rewards = [total_of(one) for one in again]
    if any(reward is None for reward in rewards):
        raise ValueError(f"problem {problem.problem_id}: a branch without a reward has none at another price either")
    return replace(
        group,
        problem=problem,
        context_ids=context_ids,
        trajectories=tuple(again),
        rewards=tuple(reward for reward in rewards if reward is not None),
    )
