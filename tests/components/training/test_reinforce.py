"""Reinforcement on a toy with known rewards: what pays more gains probability, and the clone's answers stay."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import chat, encoder, leaning_llama, specs_of, told
from toy_groups import PROBLEM, TOOLS, bandit, material_of, siblings, vocabulary

from components.schema.cost import NO_COST
from components.schema.group import Group
from components.schema.trajectory import ANSWER, Outcome, StopReason
from components.training.advantage import decision_target, decision_values
from components.training.examples import Teach
from components.training.guards import CallRateCollapse, ScorerChanged
from components.training.inputs import Material, Replay
from components.training.losses import decision_log_probs
from components.training.policy_gradient import NORMAL_ARGUMENTS
from components.training.reinforce import (
    backward,
    clone_hidden,
    group_metrics,
    reinforce,
)
from components.training.settings import ReinforceSettings

SETTINGS = ReinforceSettings(
    learning_rate=3e-3,
    steps=8,
    warmup_steps=0,
    trained_layers=2,
    decision_weight=1.0,
    argument_weight=1.0,
    replay_weight=1.0,
    decision_start=0.0,
    references=4,
)
DIRECT = Teach(decisions=False, arguments=False)


def _context() -> tuple[int, ...]:
    return chat().prompt_ids(PROBLEM.prompt, specs_of(TOOLS))


def _searches(rewards: dict[str, float]) -> Group:
    """Siblings whose responses hold the reference."""
    return siblings(rewards, likelihood=0.9)


def _reinforce(
    model: Any, groups: list[Group], pool: dict[int, Replay] | None = None, **changes: Any
) -> list[dict[str, float]]:
    settings = SETTINGS.model_copy(update=changes)
    told_metrics: list[dict[str, float]] = []
    reinforce(
        model,
        lambda step: material_of(groups, settings, tuple(range(len(pool or {})))),
        pool or {},
        settings,
        vocabulary(),
        refresh=lambda layers: None,
        report=lambda step, metrics: told_metrics.append(dict(metrics)),
    )
    return told_metrics


@torch.no_grad()
def _decide(model: Any) -> dict[str, float]:
    names = [chat().encode(name) for name in TOOLS]
    logprobs = decision_log_probs(model, [_context()], chat().call_opening, names)[0]
    return dict(zip((ANSWER, *TOOLS), logprobs.exp().tolist(), strict=True))


@torch.no_grad()
def _logprob(model: Any, ids: tuple[int, ...], places: tuple[int, ...]) -> float:
    logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return float(sum(logprobs[p - 1, ids[p]] for p in places))


@cache
def _before() -> dict[str, float]:
    return _decide(leaning_llama())


def _gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("best", [ANSWER, *TOOLS])
def test_the_decision_with_the_highest_value_gains_probability(best: str) -> None:
    rewards = {name: 1.0 if name == best else 0.0 for name in (ANSWER, *TOOLS)}
    model = leaning_llama()
    metrics = _reinforce(model, [bandit(rewards)])
    after = _decide(model)
    assert after[best] > _before()[best] + 0.1
    assert metrics[-1]["loss/decision"] < metrics[0]["loss/decision"]


def test_adapters_learn_the_decision_and_are_gone_in_the_end() -> None:
    model = leaning_llama()
    _reinforce(model, [bandit({ANSWER: 0.0, "search": 1.0, "python": 0.0})], lora_rank=4)
    assert _decide(model)["search"] > _before()["search"] + 0.1
    assert model.state_dict().keys() == leaning_llama().state_dict().keys()


def test_decisions_are_left_alone_until_the_queries_have_had_their_time() -> None:
    metrics = _reinforce(
        leaning_llama(), [bandit({ANSWER: 0.0, "search": 1.0})], steps=4, decision_start=0.5, call_rate_low=0.0
    )
    assert ["loss/decision" in one for one in metrics] == [False, False, True, True]


def test_a_decision_with_nothing_at_stake_moves_nothing() -> None:
    model = leaning_llama()
    _reinforce(model, [bandit({ANSWER: 0.5, "search": 0.5, "python": 0.5})], steps=4)
    assert _decide(model) == pytest.approx(_before(), abs=1e-6)


def test_states_where_little_is_at_stake_do_not_outvote_one_where_much_is() -> None:
    """Three states that only save the price of a call against one that the call alone solves, all looking alike."""
    cheap = bandit({ANSWER: 0.1, "search": 0.0, "python": 0.0})
    model = leaning_llama()
    _reinforce(model, [cheap, cheap, cheap, bandit({ANSWER: 0.0, "search": 1.0, "python": 0.0})], steps=20)
    after = _decide(model)
    assert max(after, key=lambda name: after[name]) == "search"


def test_the_argument_with_the_higher_reward_gains_probability() -> None:
    group = _searches({"capital Chad": 1.0, "river Mali": 0.0})

    def margin(model: Any) -> float:
        better, worse = (encoder().example(trajectory, PROBLEM) for trajectory in group.trajectories)
        return _logprob(model, better.ids, better.arguments) - _logprob(model, worse.ids, worse.arguments)

    model = leaning_llama()
    _reinforce(model, [group], decision_weight=0.0, reference_weight=0.0)
    assert margin(model) > margin(leaning_llama()) + 1.0


def test_the_argument_loss_is_advantage_times_log_probability_over_a_constant() -> None:
    model, group = leaning_llama(), _searches({"capital Chad": 1.0, "river Mali in the north": 0.25})
    metrics = backward(model, material_of([group], SETTINGS), (), SETTINGS, vocabulary())
    slow = 0.0
    for trajectory, advantage in zip(group.trajectories, (0.75, -0.75), strict=True):
        one = encoder().example(trajectory, PROBLEM)
        slow -= advantage * _logprob(model, one.ids, one.arguments)
    assert metrics["loss/argument"] == pytest.approx(slow / 2 / NORMAL_ARGUMENTS, abs=1e-3)


@pytest.mark.parametrize("floor", [0.0, 0.3])
def test_the_decision_loss_is_the_cross_entropy_to_the_softmax_of_values_times_what_is_at_stake(floor: float) -> None:
    model, group = leaning_llama(), bandit({ANSWER: 0.1, "search": 0.6, "python": 0.2})
    settings = SETTINGS.model_copy(update={"decision_floor": floor})
    metrics = backward(model, material_of([group], settings), (), settings, vocabulary())
    target = decision_target(decision_values(group), SETTINGS.decision_temperature, floor=floor)
    slow = -(0.6 - 0.1) * sum(p * float(torch.tensor(_before()[name]).log()) for name, p in target.items())
    assert metrics["loss/decision"] == pytest.approx(slow, abs=1e-3)


def test_a_reference_that_the_responses_hold_gains_probability() -> None:
    group = _searches({"capital Chad": 1.0, "river Mali": 0.0})
    (one,) = material_of([group], SETTINGS).references
    model = leaning_llama()
    _reinforce(model, [group], decision_weight=0.0, argument_weight=0.0, reference_weight=1.0)
    assert _logprob(model, one.ids, one.answers) > _logprob(leaning_llama(), one.ids, one.answers) + 1.0


def _pool(model: Any) -> dict[int, Replay]:
    answers = [
        encoder().example(told(PROBLEM, [], text), PROBLEM, DIRECT) for text in ("It is Bamako.", "I am not sure.")
    ]
    return clone_hidden(model, answers, range(len(answers)), tokens_per_pass=64)


def _slow_kl(clone: Any, model: Any, pool: dict[int, Replay]) -> float:
    summed, count = 0.0, 0
    for example in (replay.example for replay in pool.values()):
        with torch.no_grad():
            logits = [each(torch.tensor([example.ids])).logits[0].double() for each in (clone, model)]
        for place in example.answers:
            rows = [each[place - 1].clone() for each in logits]
            if place in example.firsts:
                for row in rows:
                    row[chat().call_opening[0]] = -1e9
            old, new = (row.log_softmax(-1) for row in rows)
            summed, count = summed + float((old.exp() * (old - new)).sum()), count + 1
    return summed / count


def test_the_kl_is_zero_at_the_clone_and_the_slow_sum_elsewhere() -> None:
    clone, model = leaning_llama(), leaning_llama()
    pool = _pool(clone)
    with torch.no_grad():
        at_clone = _kl_of(model, pool)
        for parameter in model.model.layers.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    assert at_clone == pytest.approx(0.0, abs=1e-4)
    assert _kl_of(model, pool) == pytest.approx(_slow_kl(clone, model, pool), rel=1e-2)


def _kl_of(model: Any, pool: dict[int, Replay]) -> float:
    with torch.enable_grad():
        steps = material_of([bandit({ANSWER: 0.0, "search": 0.0})], SETTINGS, tuple(range(len(pool or {}))))
        return backward(model, steps, pool, SETTINGS, vocabulary())["loss/kl"]


def test_replay_with_kl_keeps_answers_near_the_clone() -> None:
    distances = {}
    for weight in (0.0, 5.0):
        model = leaning_llama()
        groups = [bandit({ANSWER: 0.0, "search": 1.0, "python": 0.0}), _searches({"capital Chad": 1.0, "b c": 0.0})]
        _reinforce(model, groups, _pool(leaning_llama()), kl_weight=weight, replay_weight=0.0)
        distances[weight] = _slow_kl(leaning_llama(), model, _pool(leaning_llama()))
    assert distances[5.0] < 0.5 * distances[0.0]


def test_how_a_step_is_cut_into_passes_does_not_change_its_gradient() -> None:
    gradients = []
    for tokens in (64, 8192):
        model = leaning_llama()
        settings = SETTINGS.model_copy(update={"tokens_per_pass": tokens})
        pool = _pool(leaning_llama())
        groups = [bandit({ANSWER: 0.1, "search": 0.6, "python": 0.2}), _searches({"capital Chad": 1.0, "b c": 0.3})]
        with torch.no_grad():
            model.model.norm.weight.mul_(1.1)
        backward(model, material_of(groups, settings, (0, 1)), pool, settings, vocabulary())
        gradients.append(_gradients(model))
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], atol=1e-4), name


def test_a_policy_that_stops_calling_ends_the_run_with_advice() -> None:
    calling = bandit({ANSWER: 1.0, "search": 0.0}, probs={ANSWER: 0.1, "search": 0.9})
    silent = bandit({ANSWER: 1.0, "search": 0.0}, probs={ANSWER: 0.9, "search": 0.1})
    steps = iter([[calling], [silent], [silent]])
    settings = SETTINGS.model_copy(update={"steps": 3, "decision_start": 1.0})
    with pytest.raises(CallRateCollapse, match=r"step 2: only 0% .*Lower reward\.price"):
        reinforce(
            leaning_llama(),
            lambda step: material_of(next(steps), settings),
            {},
            settings,
            vocabulary(),
            refresh=lambda layers: None,
        )


def test_a_policy_that_never_called_is_no_collapse() -> None:
    silent = bandit({ANSWER: 1.0, "search": 0.0}, probs={ANSWER: 0.9, "search": 0.1})
    told_metrics = _reinforce(leaning_llama(), [silent], steps=1, decision_start=1.0)
    assert [metrics["rollout/call_rate"] for metrics in told_metrics] == [0.0]


def test_while_decisions_are_learnt_their_metrics_are_of_the_present_weights() -> None:
    stale = bandit({ANSWER: 1.0, "search": 0.0, "python": 0.0}, probs={ANSWER: 0.0, "search": 1.0, "python": 0.0})
    told_metrics = _reinforce(leaning_llama(), [stale], call_rate_low=0.0)
    before = _before()
    assert told_metrics[0]["rollout/decision_entropy"] == pytest.approx(
        -sum(p * math.log(p) for p in before.values()), abs=1e-4
    )
    assert told_metrics[-1]["rollout/call_rate"] == told_metrics[-1]["rollout/call_rate_fact"] == 0.0


def test_a_checkpoint_is_not_resumed_with_another_scorer(tmp_path: Path) -> None:
    def run(scorer: str, steps: int) -> None:
        settings = SETTINGS.model_copy(update={"steps": steps, "checkpoint_every": 1})
        reinforce(
            leaning_llama(),
            lambda step: material_of([bandit({ANSWER: 0.0, "search": 0.5})], settings),
            {},
            settings,
            vocabulary(),
            refresh=lambda layers: None,
            checkpoint=tmp_path / "checkpoint",
            scorer=scorer,
        )

    run("aaaa", 1)
    run("aaaa", 2)
    with pytest.raises(ScorerChanged, match="rewards of scorer aaaa, the present one is bbbb"):
        run("bbbb", 3)


def test_a_killed_run_resumes_to_exactly_the_same_weights(tmp_path: Path) -> None:
    def run(model: Any, *, until: int | None = None, checkpoint: Path | None = None) -> list[tuple[int, ...]]:
        refreshed: list[tuple[int, ...]] = []

        def played(step: int) -> Material:
            if step == until:
                raise KeyboardInterrupt
            group = bandit({ANSWER: 0.1 * step, "search": 0.5, "python": 0.0})
            return material_of([group], SETTINGS, (step % 2,))

        settings = SETTINGS.model_copy(update={"steps": 5, "checkpoint_every": 1})
        pool = _pool(leaning_llama())
        reinforce(model, played, pool, settings, vocabulary(), refresh=refreshed.append, checkpoint=checkpoint)
        return refreshed

    straight, resumed = leaning_llama(), leaning_llama()
    assert run(straight) == [(0, 1)] * 5
    with pytest.raises(KeyboardInterrupt):
        run(leaning_llama(), until=3, checkpoint=tmp_path / "checkpoint")
    assert run(resumed, checkpoint=tmp_path / "checkpoint") == [(0, 1)] * 3
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters(), strict=True))


def test_a_collapse_is_noticed_across_a_kill(tmp_path: Path) -> None:
    def run(steps: int, probs: dict[str, float]) -> None:
        settings = SETTINGS.model_copy(update={"steps": steps, "checkpoint_every": 1, "decision_start": 1.0})
        group = bandit({ANSWER: 0.0, "search": 0.5}, probs=probs)
        reinforce(
            leaning_llama(),
            lambda step: material_of([group], settings),
            {},
            settings,
            vocabulary(),
            refresh=lambda layers: None,
            checkpoint=tmp_path / "checkpoint",
        )

    run(1, {ANSWER: 0.1, "search": 0.9})
    with pytest.raises(CallRateCollapse):
        run(2, {ANSWER: 0.9, "search": 0.1})


def test_metrics_leave_out_what_was_not_scored() -> None:
    bare = group_metrics([bandit({ANSWER: 0.2, "search": 0.8})])
    assert bare["reward/total"] == pytest.approx(0.5)
    assert bare["rollout/call_rate"] == bare["rollout/best_is_call"] == 1.0
    assert not [name for name in bare if name.startswith("reward/") and name != "reward/total"]
    parts = {"correct": None, "money": 2.0, "malformed": 0.0}
    group = bandit({ANSWER: 0.2, "search": 0.8})
    judged = replace(
        group.trajectories[1], outcome=Outcome(StopReason.ANSWERED, "Yes.", None, NO_COST, reward_parts=parts)
    )
    metrics = group_metrics([replace(group, trajectories=(group.trajectories[0], judged))])
    assert metrics["reward/money"] == 2.0
    assert "reward/correct" not in metrics
    assert (metrics["rollout/unscored_correct"], metrics["rollout/unscored_money"]) == (2.0, 1.0)
