"""Rewards under other prices: those that the same plays would have earned."""

from __future__ import annotations

from dataclasses import replace

import pytest
from doubles import make_problem
from tiny_models import told

from components.reward.at_price import at_price, reward_for
from components.reward.settings import RewardSettings
from components.schema.group import Group
from components.schema.problem import Problem
from components.schema.trajectory import ANSWER, Trajectory
from components.tools.prices import PriceSheet

PROBLEM = make_problem()
SETTINGS = RewardSettings(likelihood_weight=0.0, price=0.1)


def _play(decision: str, *, success: bool | None) -> Trajectory:
    calls = [] if decision == ANSWER else [(decision, "x", "y")]
    play = told(PROBLEM, calls, "Yes.", forced=decision)
    return replace(play, outcome=replace(play.outcome, success=success))


def _group(*plays: Trajectory) -> Group:
    return Group(PROBLEM, (1, 2), {}, plays, (0.0,) * len(plays), (None,) * len(plays))


def _at(price: float, group: Group) -> Group:
    return at_price(group, replace(PROBLEM, price=price), (1, 2, 3), prices=PriceSheet(), settings=SETTINGS)


def test_the_same_plays_are_paid_under_every_price() -> None:
    group = _group(_play(ANSWER, success=False), _play("search", success=True), _play("python", success=False))
    for price in (0.0, 0.4, 1.5):
        found = _at(price, group)
        assert found.rewards == pytest.approx((0.0, 1.0 - price, -0.3 * price))
        assert [sum(t.reward or 0.0 for t in one.transitions) for one in found.trajectories] == list(found.rewards)
        assert (found.problem.price, found.context_ids) == (price, (1, 2, 3))


def test_a_branch_without_a_verdict_has_no_reward_at_any_price() -> None:
    with pytest.raises(ValueError, match=PROBLEM.problem_id):
        _at(0.3, _group(_play(ANSWER, success=None)))


@pytest.mark.parametrize(
    ("problem", "warm", "price"),
    [(PROBLEM, 1.0, 0.1), (PROBLEM, 0.5, 0.05), (replace(PROBLEM, price=0.8), 0.5, 0.4)],
)
def test_the_price_told_counts_in_place_of_the_settings(problem: Problem, warm: float, price: float) -> None:
    assert reward_for(problem, SETTINGS, warm=warm).price == pytest.approx(price)
