"""TD(lambda) targets against returns worked out by hand."""

from __future__ import annotations

import pytest

from components.training.returns import lambda_returns, returns_of

REWARDS, FOLLOWING = (-0.1, -0.2, 1.0), (0.5, 0.6, 9.9)


def test_a_trace_of_one_gives_what_really_came() -> None:
    assert lambda_returns(REWARDS, FOLLOWING, trace=1.0) == pytest.approx((0.7, 0.8, 1.0))


def test_a_trace_of_zero_gives_one_step_targets() -> None:
    assert lambda_returns(REWARDS, FOLLOWING, trace=0.0) == pytest.approx((-0.1 + 0.5, -0.2 + 0.6, 1.0))


def test_a_trace_between_mixes_estimate_and_return() -> None:
    # G3 = 1; G2 = -0.2 + 0.5 * 0.6 + 0.5 * 1 = 0.6; G1 = -0.1 + 0.5 * 0.5 + 0.5 * 0.6 = 0.45
    assert lambda_returns(REWARDS, FOLLOWING, trace=0.5) == pytest.approx((0.45, 0.6, 1.0))


def test_the_estimate_after_the_last_turn_counts_for_nothing() -> None:
    assert lambda_returns((0.3,), (7.0,), trace=0.5) == (0.3,)


def test_episodes_do_not_bootstrap_from_each_other() -> None:
    values = [0.1, 0.2, 0.3, 0.4]
    # first episode: turns 0 and 1; second: 2 and 3. Turn 1 is the last of its own, though turn 2 follows in the list.
    assert returns_of([(0.0, 1.0), (0.0, 2.0)], values, trace=0.0) == pytest.approx([0.2, 1.0, 0.4, 2.0])
