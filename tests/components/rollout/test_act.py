"""Acting as a model was trained to: the same for whoever evaluates and whoever serves it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from doubles import FakeToolbox, make_problem
from tiny_models import tiny_policy

from components.policy.heads import QHead, write_q
from components.policy.policy import Policy
from components.policy.told_price import FollowsNoPrice, at_price, write_levels
from components.rollout import rollout
from components.rollout.act import Manner, act, read_manner
from components.rollout.rerank import rollout_by_q, values_by
from components.schema.trajectory import ANSWER

PROBLEMS = tuple(make_problem(prompt=f"{text}?", max_calls=2) for text in ("Why", "Who"))
LEVELS = (0.0, 0.5)


@cache
def policy() -> Policy:
    return tiny_policy()


def _head() -> QHead:
    head = QHead(64, 8, low=0.0, high=1.0, seed=1)
    head.head.outer.weight.data.fill_(0.5)
    return head


def _acted(manner: Manner, **changes: Any) -> Any:
    return act(policy(), PROBLEMS, FakeToolbox(), manner, seed=5, **changes)  # type: ignore[arg-type]


def test_a_model_without_q_and_prices_plays_a_rollout() -> None:
    assert _acted(Manner()) == rollout(policy(), PROBLEMS, FakeToolbox(), seed=5)  # type: ignore[arg-type]


def test_a_model_with_q_acts_by_it() -> None:
    box: Any = FakeToolbox()
    values = values_by(policy(), _head(), box)
    assert _acted(Manner(q=_head())) == rollout_by_q(policy(), values, PROBLEMS, box, seed=5)


@pytest.mark.parametrize("q", [None, _head()])
@pytest.mark.parametrize("decision", [ANSWER, "search", "python"])
def test_a_forced_decision_comes_first_whatever_decides(decision: str, q: QHead | None) -> None:
    for trajectory in _acted(Manner(q=q), force=(decision,)):
        assert trajectory.transitions[0].action.decision == decision
        assert trajectory.forced == (decision,)


def test_a_price_is_told_in_the_prompt_and_the_usual_one_where_none_is_given() -> None:
    manner = Manner(levels=LEVELS, usual_price=0.4)
    told = [at_price(problem, 0.4, LEVELS, usual=0.0) for problem in PROBLEMS]
    assert {problem.price for problem in told} == {0.5}
    assert _acted(manner) == _acted(manner, price=0.5) == rollout(policy(), told, FakeToolbox(), seed=5)  # type: ignore[arg-type]
    with pytest.raises(FollowsNoPrice):
        _acted(Manner(), price=0.5)


def test_the_manner_is_what_lies_beside_the_weights(tmp_path: Path) -> None:
    assert read_manner(tmp_path, policy(), usual_price=0.1) == Manner(None, (), 0.1)
    write_q(tmp_path, _head())
    write_levels(tmp_path, LEVELS)
    manner = read_manner(tmp_path, policy(), usual_price=0.1)
    assert manner.q is not None
    assert manner.levels == LEVELS
