"""One set of weights learns to follow every price it is told, from the same judged roots."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from tiny_models import chat, encoder, leaning_llama, told
from toy_groups import PROBLEM, TOOLS, branches_of, vocabulary

from components.reward.at_price import at_price
from components.reward.settings import RewardSettings
from components.schema.group import Group
from components.schema.trajectory import ANSWER, Trajectory
from components.tools.prices import PriceSheet
from components.training.losses import decision_log_probs
from components.training.material import material
from components.training.reinforce import reinforce
from components.training.settings import ReinforceSettings

LEVELS = (0.0, 0.5, 2.0)
REWARD = RewardSettings(likelihood_weight=0.0)
SETTINGS = ReinforceSettings(
    learning_rate=3e-3,
    steps=40,
    warmup_steps=0,
    trained_layers=2,
    decision_weight=1.0,
    decision_start=0.0,
    call_rate_low=0.0,
    price_conditioned=LEVELS,
)


def _judged() -> Group:
    """The direct answer is wrong, a search makes it right for one unit of cost, python does not."""
    plays = {name: _play(name, success=name == "search") for name in (ANSWER, *TOOLS)}
    return branches_of([(name, play, 0.0, None) for name, play in plays.items()])


def _play(decision: str, *, success: bool) -> Trajectory:
    play = told(PROBLEM, [] if decision == ANSWER else [(decision, "x", "y")], "Yes.")
    return replace(play, outcome=replace(play.outcome, success=success))


def _repriced(group: Group) -> list[Group]:
    problems = [replace(group.problem, price=level) for level in LEVELS]
    return [
        at_price(group, problem, encoder().context(problem), prices=PriceSheet(), settings=REWARD)
        for problem in problems
    ]


@cache
def _trained() -> tuple[Any, dict[str, float]]:
    model, last = leaning_llama(), dict[str, float]()
    reinforce(
        model,
        lambda step: material([_judged()], (), encoder(), SETTINGS, repriced=_repriced),
        {},
        SETTINGS,
        vocabulary(),
        refresh=lambda layers: None,
        report=lambda step, metrics: last.update(metrics),
    )
    return model, last


@pytest.mark.parametrize(("price", "best"), [(0.0, "search"), (0.5, "search"), (2.0, ANSWER)])
def test_the_same_weights_call_when_calls_are_cheap_and_answer_when_they_are_dear(price: float, best: str) -> None:
    model, _ = _trained()
    context = encoder().context(replace(PROBLEM, price=price))
    with torch.no_grad():
        names = [chat().encode(name) for name in TOOLS]
        (found,) = decision_log_probs(model, [context], chat().call_opening, names).exp().tolist()
    probs = dict(zip((ANSWER, *TOOLS), found, strict=True))
    assert max(probs, key=lambda decision: probs[decision]) == best
    assert probs[best] > 0.6


def test_calls_are_counted_price_by_price() -> None:
    _, metrics = _trained()
    assert [metrics[f"rollout/call_rate_at_{price:g}"] for price in LEVELS] == [1.0, 1.0, 0.0]
    assert metrics["rollout/call_recall"] == pytest.approx(2 / 3), "a call makes the answer right at every price"


def test_neighbours_in_a_step_are_different_problems_under_one_price() -> None:
    other = replace(_judged(), problem=replace(PROBLEM, problem_id="other"))
    learnt = material([_judged(), other], (), encoder(), SETTINGS, repriced=_repriced)
    assert [group.problem.price for group in learnt.groups] == [0.0, 0.0, 0.5, 0.5, 2.0, 2.0]
    assert [group.problem.problem_id for group in learnt.groups[:2]] == [PROBLEM.problem_id, "other"]


@pytest.mark.parametrize("levels", [(0.1,), (0.3, 0.1), (0.1, 0.1), (-0.1, 0.1)])
def test_levels_that_are_no_scale_are_refused(levels: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="ascending"):
        ReinforceSettings(price_conditioned=levels)
