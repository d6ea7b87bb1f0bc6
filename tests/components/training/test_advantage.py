"""From rewards to targets: values of decisions, their softmax, and leave-one-out advantages."""

from __future__ import annotations

import random

import pytest
from doubles import make_problem
from tiny_models import told

from components.schema.group import Group
from components.training.advantage import (
    advantages,
    at_stake,
    decision_target,
    decision_values,
    leave_one_out,
    standardised,
)

PROBLEM = make_problem()


def group_of(rewards: dict[str, list[float]], *, probs: dict[str, float] | None = None) -> Group:
    """A group whose branches have these rewards."""
    branches = [(name, k, reward) for name, values in rewards.items() for k, reward in enumerate(values)]
    return Group(
        problem=PROBLEM,
        context_ids=(1, 2, 3),
        probs=probs or {name: 1 / len(rewards) for name in rewards},
        trajectories=tuple(told(PROBLEM, [], f"{name} {k}", forced=name) for name, k, _ in branches),
        rewards=tuple(reward for _, _, reward in branches),
        likelihoods=(None,) * len(branches),
    )


@pytest.mark.parametrize("seed", range(20))
def test_leave_one_out_sums_to_zero_and_is_the_reward_minus_the_others_mean(seed: int) -> None:
    draw = random.Random(seed)
    rewards = [draw.uniform(-1, 1) for _ in range(draw.randint(2, 8))]
    values = leave_one_out(rewards)
    assert sum(values) == pytest.approx(0.0, abs=1e-9)
    for index, value in enumerate(values):
        others = rewards[:index] + rewards[index + 1 :]
        assert value == pytest.approx(rewards[index] - sum(others) / len(others))


def test_a_lone_sample_has_no_advantage() -> None:
    assert leave_one_out([0.7]) == (0.0,)
    assert leave_one_out([]) == ()


def test_advantages_scale_with_the_rewards_because_nothing_divides_by_their_spread() -> None:
    small, large = leave_one_out([0.0, 0.01, 0.02]), leave_one_out([0.0, 1.0, 2.0])
    assert large == pytest.approx([100 * value for value in small])
    assert leave_one_out([0.5, 0.5, 0.5]) == (0.0, 0.0, 0.0)


def test_advantages_compare_siblings_of_one_branch_only() -> None:
    group = group_of({"search": [1.0, 0.0], "answer": [0.9], "python": [-0.5]})
    assert advantages(group) == pytest.approx((1.0, -1.0, 0.0, 0.0))


def test_the_value_of_a_decision_is_the_mean_reward_of_its_branch() -> None:
    group = group_of({"search": [1.0, 0.0, 0.5], "answer": [0.25]})
    assert decision_values(group) == pytest.approx({"search": 0.5, "answer": 0.25})


def test_the_decision_target_is_the_softmax_of_values_over_the_temperature() -> None:
    target = decision_target({"answer": 0.0, "search": 0.5}, 0.25)
    assert sum(target.values()) == pytest.approx(1.0)
    assert target["search"] / target["answer"] == pytest.approx(2.718281828**2)


def test_the_decision_target_ignores_shifts_survives_extremes_and_keeps_every_decision() -> None:
    values = {"answer": 0.1, "search": 0.3, "python": -0.2}
    shifted = {name: value + 7.0 for name, value in values.items()}
    assert decision_target(values, 0.25) == pytest.approx(decision_target(shifted, 0.25))
    assert decision_target({"answer": 0.0, "search": 1e6}, 0.01)["search"] == pytest.approx(1.0)
    assert min(decision_target(values, 0.25).values()) > 0


@pytest.mark.parametrize("price", [0.1, 0.001])
def test_group_std_makes_any_price_weigh_as_much_as_a_success(price: float) -> None:
    """Every branch fails and only the price of the call differs: what collapses to never calling (learning.md 0.2)."""
    failed = group_of({"answer": [0.0], "search": [-price]})
    solved = group_of({"answer": [0.0], "search": [1.0 - price]})
    stakes = {name: [at_stake(decision_values(g, name)) for g in (failed, solved)] for name in ("none", "group_std")}  # type: ignore[arg-type]
    assert stakes["none"] == pytest.approx([price, 1.0 - price])
    assert stakes["group_std"][0] > 0.8 * stakes["group_std"][1]


def test_standardised_rewards_have_mean_zero_and_the_same_spread_whatever_they_were() -> None:
    assert sum(standardised([0.0, 0.5, 2.0])) == pytest.approx(0.0)
    assert standardised([0.0, 10.0]) == pytest.approx(standardised([0.0, 1.0]), rel=1e-3)
    assert standardised([0.7]) == (0.0,)
    assert advantages(group_of({"search": [1.0, 0.0], "answer": [0.9]}), "group_std") == pytest.approx(
        (0.707, -0.707, 0.0), abs=1e-3
    )


@pytest.mark.parametrize("floor", [0.0, 0.1, 0.5])
def test_a_floor_gives_every_decision_its_share_and_leaves_the_order(floor: float) -> None:
    target = decision_target({"answer": -5.0, "search": 5.0, "python": 0.0}, 0.1, floor=floor)
    assert sum(target.values()) == pytest.approx(1.0)
    assert min(target.values()) == pytest.approx(floor / 3, abs=1e-9)
    assert target["search"] > target["python"]
