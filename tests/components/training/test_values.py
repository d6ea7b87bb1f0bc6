"""Value heads: they learn what can be told apart, and their calibration is what it says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from doubles import make_problem
from tiny_models import encoder, leaning_llama, told
from toy_groups import bandit, vocabulary

from components.schema.trajectory import ANSWER, Trajectory
from components.training.critic import Critic, read_features
from components.training.finish import finish_values, refit_q
from components.training.settings import CriticSettings
from components.training.values import Play, auc, calibration, fit_values

SETTINGS = CriticSettings(hidden=16, learning_rate=1e-2, fit_updates=150, polyak=0.1)


def _play(number: int, *, success: bool, cost: float, turns: int = 1, weight: float = 1.0) -> Play:
    costs = (cost, *(0.0,) * (turns - 1))
    return Play(f"problem {number}", ((number,),) * turns, success, costs, weight)


def test_heads_learn_a_separable_toy_and_say_so_on_problems_they_did_not_see() -> None:
    plays = [_play(n, success=n % 2 == 0, cost=2.0 * (n % 2)) for n in range(60)]
    noise = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
    noise[:, 0] = torch.tensor([3.0 if play.success else -3.0 for play in plays])
    fitted = fit_values(noise, plays, SETTINGS, seed=0)
    assert fitted.metrics["value/auc"] > 0.95
    assert fitted.metrics["value/brier"] < 0.1
    assert fitted.metrics["value/cost_error"] < 0.4


@pytest.mark.parametrize("trace", [1.0, 0.5])
def test_an_earlier_state_is_worth_what_the_later_ones_bring(trace: float) -> None:
    plays = [_play(n, success=True, cost=1.5, turns=2) for n in range(20)]
    features = torch.eye(4)[:2].repeat(20, 1)
    heads = fit_values(features, plays, SETTINGS.model_copy(update={"trace": trace}), seed=0).heads
    solved, cost = heads(torch.eye(4)[:2])
    assert solved.tolist() == pytest.approx([1.0, 1.0], abs=0.1)
    assert cost.tolist() == pytest.approx([1.5, 0.0], abs=0.15)


def test_a_root_counts_every_decision_by_its_probability() -> None:
    plays = [_play(n, success=good, cost=0.0, weight=0.8 if good else 0.2) for n in range(30) for good in (True, False)]
    heads = fit_values(torch.ones(60, 4).cumsum(1), plays, SETTINGS, seed=0).heads
    assert float(heads(torch.ones(1, 4).cumsum(1))[0].detach()) == pytest.approx(0.8, abs=0.05)


def test_nothing_to_learn_from_is_told() -> None:
    with pytest.raises(ValueError, match="none of 0 plays"):
        fit_values(torch.empty(0, 4), [], SETTINGS, seed=0)


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    scores, kinds = torch.tensor([0.9, 0.4, 0.4, 0.1]), torch.tensor([True, True, False, False])
    assert auc(scores, kinds, torch.ones(4)) == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert auc(scores, kinds, torch.tensor([1.0, 0.0, 1.0, 1.0])) == pytest.approx(1.0)
    assert auc(scores, torch.tensor([True] * 4), torch.ones(4)) is None


def test_calibration_leaves_out_the_auc_where_all_ended_alike() -> None:
    plays = [_play(n, success=True, cost=0.0) for n in range(3)]
    heads = fit_values(torch.randn(3, 4), [_play(1, success=True, cost=0.0)] * 3, SETTINGS, seed=0).heads
    metrics = calibration(heads, torch.zeros(3, 4), plays)
    assert set(metrics) == {"value/brier", "value/cost_error"}
    assert metrics["value/brier"] == pytest.approx((1.0 - float(heads(torch.zeros(1, 4))[0].detach())) ** 2, abs=1e-6)


def test_a_finished_model_gets_heads_from_judged_plays_that_it_has_the_problems_of() -> None:
    problems = {p.problem_id: p for p in (make_problem(f"Number {n}?") for n in range(8))}
    group = [t for p in problems.values() for t in bandit({ANSWER: 1.0, "search": 0.0}, p).trajectories]
    stranger = told(make_problem("Not known?"), [], "x")
    fitted = finish_values(
        leaning_llama(),
        [*group, stranger],
        problems,
        encoder(),
        vocabulary(),
        SETTINGS.model_copy(update={"fit_updates": 3}),
        units=lambda cost: float(cost.calls),
        tokens_per_pass=512,
        seed=0,
    )
    assert fitted.heads.solved.inner.weight.shape == (16, 64)


def _scored(trajectory: Trajectory, reward: float) -> Trajectory:
    last = replace(trajectory.transitions[-1], reward=reward)
    return replace(trajectory, transitions=(*trajectory.transitions[:-1], last))


def test_a_q_head_is_fitted_again_to_the_weights_that_will_be_served() -> None:
    model, group = leaning_llama(), bandit({ANSWER: 0.0, "search": 1.0})
    known = {group.problem.problem_id: group.problem}
    settings = SETTINGS.model_copy(update={"trace": 1.0})
    scored = [_scored(trajectory, reward) for trajectory, reward in zip(group.trajectories, group.rewards, strict=True)]
    old = Critic(64, settings, twins=False, seed=0).head()
    new = refit_q(model, old, scored, known, encoder(), settings, tokens_per_pass=512)
    firsts = [encoder().episode(t, group.problem, 0.0).actions()[0] for t in scored]
    with torch.no_grad():
        found = new(read_features(model, firsts, tokens_per_pass=512)).tolist()
    assert found == pytest.approx([0.0, 1.0], abs=0.1)
    assert refit_q(model, old, group.trajectories, known, encoder(), settings, tokens_per_pass=512) is old
