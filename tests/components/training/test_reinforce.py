"""Reinforcement on a toy with known rewards: what pays more gains probability, and the clone's answers stay."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from doubles import make_problem
from tiny_models import chat, encoder, leaning_llama, specs_of, told

from components.schema.cost import NO_COST
from components.schema.group import Group
from components.schema.trajectory import ANSWER, Outcome, StopReason, Trajectory
from components.training.advantage import decision_target, decision_values
from components.training.examples import Example, Teach
from components.training.guards import CallRateCollapse, ScorerChanged
from components.training.inputs import Material, Replay, Vocabulary
from components.training.losses import decision_log_probs
from components.training.material import material
from components.training.policy_gradient import NORMAL_ARGUMENTS
from components.training.reinforce import (
    backward,
    clone_hidden,
    group_metrics,
    reinforce,
)
from components.training.settings import ReinforceSettings

PROBLEM = make_problem()
TOOLS = ("search", "python")
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


def _vocabulary() -> Vocabulary:
    return Vocabulary(chat().call_opening, {name: chat().encode(name) for name in TOOLS})


def _group(
    branches: list[tuple[str, Trajectory, float, float | None]], *, probs: dict[str, float] | None = None
) -> Group:
    return Group(
        problem=PROBLEM,
        context_ids=_context(),
        probs=probs or {ANSWER: 0.2, "search": 0.5, "python": 0.3},
        trajectories=tuple(replace(trajectory, forced=(name,)) for name, trajectory, _, _ in branches),
        rewards=tuple(reward for _, _, reward, _ in branches),
        likelihoods=tuple(value for _, _, _, value in branches),
    )


def _bandit(rewards: dict[str, float], **changes: Any) -> Group:
    branches = []
    for name, reward in rewards.items():
        calls = [] if name == ANSWER else [(name, "x", "y")]
        branches.append((name, told(PROBLEM, calls, "Yes."), reward, None))
    return _group(branches, **changes)


def _searches(rewards: dict[str, float]) -> Group:
    return _group([("search", told(PROBLEM, [("search", q, "N'Djamena")], "Yes."), r, 0.9) for q, r in rewards.items()])


def _material(groups: list[Group], settings: ReinforceSettings, replay: tuple[int, ...] = ()) -> Material:
    return material(groups, replay, encoder(), settings)


def _reinforce(
    model: Any, groups: list[Group], pool: dict[int, Replay] | None = None, **changes: Any
) -> list[dict[str, float]]:
    settings = SETTINGS.model_copy(update=changes)
    told_metrics: list[dict[str, float]] = []
    reinforce(
        model,
        lambda step: _material(groups, settings, tuple(range(len(pool or {})))),
        pool or {},
        settings,
        _vocabulary(),
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
    metrics = _reinforce(model, [_bandit(rewards)])
    after = _decide(model)
    assert after[best] > _before()[best] + 0.1
    assert metrics[-1]["loss/decision"] < metrics[0]["loss/decision"]


def test_adapters_learn_the_decision_and_are_gone_in_the_end() -> None:
    model = leaning_llama()
    _reinforce(model, [_bandit({ANSWER: 0.0, "search": 1.0, "python": 0.0})], lora_rank=4)
    assert _decide(model)["search"] > _before()["search"] + 0.1
    assert model.state_dict().keys() == leaning_llama().state_dict().keys()


def test_decisions_are_left_alone_until_the_queries_have_had_their_time() -> None:
    metrics = _reinforce(
        leaning_llama(), [_bandit({ANSWER: 0.0, "search": 1.0})], steps=4, decision_start=0.5, call_rate_low=0.0
    )
    assert ["loss/decision" in one for one in metrics] == [False, False, True, True]


def test_a_decision_with_nothing_at_stake_moves_nothing() -> None:
    model = leaning_llama()
    _reinforce(model, [_bandit({ANSWER: 0.5, "search": 0.5, "python": 0.5})], steps=4)
    assert _decide(model) == pytest.approx(_before(), abs=1e-6)


def test_states_where_little_is_at_stake_do_not_outvote_one_where_much_is() -> None:
    """Three states that only save the price of a call against one that the call alone solves, all looking alike."""
    cheap = _bandit({ANSWER: 0.1, "search": 0.0, "python": 0.0})
    model = leaning_llama()
    _reinforce(model, [cheap, cheap, cheap, _bandit({ANSWER: 0.0, "search": 1.0, "python": 0.0})], steps=20)
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
    metrics = backward(model, _material([group], SETTINGS), (), SETTINGS, _vocabulary())
    slow = 0.0
    for trajectory, advantage in zip(group.trajectories, (0.75, -0.75), strict=True):
        one = encoder().example(trajectory, PROBLEM)
        slow -= advantage * _logprob(model, one.ids, one.arguments)
    assert metrics["loss/argument"] == pytest.approx(slow / 2 / NORMAL_ARGUMENTS, abs=1e-3)


@pytest.mark.parametrize("floor", [0.0, 0.3])
def test_the_decision_loss_is_the_cross_entropy_to_the_softmax_of_values_times_what_is_at_stake(floor: float) -> None:
    model, group = leaning_llama(), _bandit({ANSWER: 0.1, "search": 0.6, "python": 0.2})
    settings = SETTINGS.model_copy(update={"decision_floor": floor})
    metrics = backward(model, _material([group], settings), (), settings, _vocabulary())
    target = decision_target(decision_values(group), SETTINGS.decision_temperature, floor=floor)
    slow = -(0.6 - 0.1) * sum(p * float(torch.tensor(_before()[name]).log()) for name, p in target.items())
    assert metrics["loss/decision"] == pytest.approx(slow, abs=1e-3)


def test_a_reference_that_the_responses_hold_gains_probability() -> None:
    group = _searches({"capital Chad": 1.0, "river Mali": 0.0})
    (one,) = _material([group], SETTINGS).references
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
        steps = _material([_bandit({ANSWER: 0.0, "search": 0.0})], SETTINGS, tuple(range(len(pool or {}))))
        return backward(model, steps, pool, SETTINGS, _vocabulary())["loss/kl"]


def test_replay_with_kl_keeps_answers_near_the_clone() -> None:
    distances = {}
    for weight in (0.0, 5.0):
        model = leaning_llama()
        groups = [_bandit({ANSWER: 0.0, "search": 1.0, "python": 0.0}), _searches({"capital Chad": 1.0, "b c": 0.0})]
        _reinforce(model, groups, _pool(leaning_llama()), kl_weight=weight, replay_weight=0.0)
        distances[weight] = _slow_kl(leaning_llama(), model, _pool(leaning_llama()))
    assert distances[5.0] < 0.5 * distances[0.0]


def test_how_a_step_is_cut_into_passes_does_not_change_its_gradient() -> None:
    gradients = []
    for tokens in (64, 8192):
        model = leaning_llama()
        settings = SETTINGS.model_copy(update={"tokens_per_pass": tokens})
        pool = _pool(leaning_llama())
        groups = [_bandit({ANSWER: 0.1, "search": 0.6, "python": 0.2}), _searches({"capital Chad": 1.0, "b c": 0.3})]
        with torch.no_grad():
            model.model.norm.weight.mul_(1.1)
        backward(model, _material(groups, settings, (0, 1)), pool, settings, _vocabulary())
        gradients.append(_gradients(model))
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], atol=1e-4), name


def test_a_policy_that_stops_calling_ends_the_run_with_advice() -> None:
    calling = _bandit({ANSWER: 1.0, "search": 0.0}, probs={ANSWER: 0.1, "search": 0.9})
    silent = _bandit({ANSWER: 1.0, "search": 0.0}, probs={ANSWER: 0.9, "search": 0.1})
    steps = iter([[calling], [silent], [silent]])
    settings = SETTINGS.model_copy(update={"steps": 3, "decision_start": 1.0})
    with pytest.raises(CallRateCollapse, match=r"step 2: only 0% .*Lower reward\.price"):
        reinforce(
            leaning_llama(),
            lambda step: _material(next(steps), settings),
            {},
            settings,
            _vocabulary(),
            refresh=lambda layers: None,
        )


def test_a_policy_that_never_called_is_no_collapse() -> None:
    silent = _bandit({ANSWER: 1.0, "search": 0.0}, probs={ANSWER: 0.9, "search": 0.1})
    told_metrics = _reinforce(leaning_llama(), [silent], steps=1, decision_start=1.0)
    assert [metrics["rollout/call_rate"] for metrics in told_metrics] == [0.0]


def test_while_decisions_are_learnt_their_metrics_are_of_the_present_weights() -> None:
    stale = _bandit({ANSWER: 1.0, "search": 0.0, "python": 0.0}, probs={ANSWER: 0.0, "search": 1.0, "python": 0.0})
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
            lambda step: _material([_bandit({ANSWER: 0.0, "search": 0.5})], settings),
            {},
            settings,
            _vocabulary(),
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

        def material_of(step: int) -> Material:
            if step == until:
                raise KeyboardInterrupt
            group = _bandit({ANSWER: 0.1 * step, "search": 0.5, "python": 0.0})
            return _material([group], SETTINGS, (step % 2,))

        settings = SETTINGS.model_copy(update={"steps": 5, "checkpoint_every": 1})
        pool = _pool(leaning_llama())
        reinforce(model, material_of, pool, settings, _vocabulary(), refresh=refreshed.append, checkpoint=checkpoint)
        return refreshed

    straight, resumed = leaning_llama(), leaning_llama()
    assert run(straight) == [(0, 1)] * 5
    with pytest.raises(KeyboardInterrupt):
        run(leaning_llama(), until=3, checkpoint=tmp_path / "checkpoint")
    assert run(resumed, checkpoint=tmp_path / "checkpoint") == [(0, 1)] * 3
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters(), strict=True))


def test_metrics_leave_out_what_was_not_scored() -> None:
    bare = group_metrics([_bandit({ANSWER: 0.2, "search": 0.8})])
    assert bare["reward/total"] == pytest.approx(0.5)
    assert bare["rollout/call_rate"] == bare["rollout/best_is_call"] == 1.0
    assert not [name for name in bare if name.startswith("reward/") and name != "reward/total"]
    parts = {"correct": None, "money": 2.0, "malformed": 0.0}
    group = _bandit({ANSWER: 0.2, "search": 0.8})
    judged = replace(
        group.trajectories[1], outcome=Outcome(StopReason.ANSWERED, "Yes.", None, NO_COST, reward_parts=parts)
    )
    metrics = group_metrics([replace(group, trajectories=(group.trajectories[0], judged))])
    assert metrics["reward/money"] == 2.0
    assert "reward/correct" not in metrics
    assert (metrics["rollout/unscored_correct"], metrics["rollout/unscored_money"]) == (2.0, 1.0)


def test_only_siblings_with_an_advantage_are_learnt_from() -> None:
    same = _searches({"capital Chad": 0.5, "river Mali": 0.5})
    assert _material([same], SETTINGS).arguments == ()
    lone = _bandit({ANSWER: 1.0, "search": 0.0, "python": 0.3})
    assert _material([lone], SETTINGS).arguments == ()
    weights = [one.weight for one in _material([_searches({"a b": 1.0, "c d": 0.5, "e f": 0.0})], SETTINGS).arguments]
    assert weights == pytest.approx([0.75, -0.75])
    grpo = ReinforceSettings(normaliser="group_std", allow_group_std=True)
    divided = _material([_searches({"a b": 0.02, "c d": 0.01, "e f": 0.0})], grpo).arguments
    assert [one.weight for one in divided] == pytest.approx([1.0, -1.0], abs=0.02)


def _taught(branches: list[tuple[str, Trajectory, float, float | None]]) -> list[str]:
    references: tuple[Example, ...] = _material([_group(branches)], SETTINGS).references
    return [chat().decode(one.ids) for one in references]


def test_the_direct_branch_is_never_taught_the_gold() -> None:
    direct = told(PROBLEM, [], "It is N'Djamena.")
    assert _taught([(ANSWER, direct, 1.0, 1.0), ("search", told(PROBLEM, [], "x"), 0.9, 1.0)]) == []


def test_the_gold_is_taught_after_the_best_response_that_holds_it() -> None:
    def searched(query: str) -> Trajectory:
        return told(PROBLEM, [("search", query, f"{query}: N'Djamena")], "No idea.")

    (text,) = _taught(
        [
            (ANSWER, told(PROBLEM, [], "x"), 1.0, 1.0),
            ("search", searched("worse"), 0.2, 0.9),
            ("search", searched("better"), 0.7, 0.9),
            ("search", searched("empty"), 0.9, 0.01),
            ("search", searched("unscored"), 0.9, None),
        ]
    )
    assert "better: N'Djamena" in text
    assert text.endswith("It is N'Djamena.")
    assert "No idea" not in text


def test_only_the_best_references_of_a_step_are_taught() -> None:
    groups = [_searches({f"query {k}": 0.1 * k}) for k in range(4)]
    taught = _material(groups, SETTINGS.model_copy(update={"references": 2})).references
    texts = [chat().decode(one.ids) for one in taught]
    assert ["query 3" in texts[0], "query 2" in texts[1], len(texts)] == [True, True, 2]


def test_the_gold_is_not_taught_after_an_error() -> None:
    trajectory = told(PROBLEM, [("search", "x", "time-out")], "No.")
    call, answer = trajectory.transitions
    failed = replace(call, results=(replace(call.results[0], is_error=True),))
    assert _taught([("search", replace(trajectory, transitions=(failed, answer)), 0.5, 0.9)]) == []


def test_a_taught_reference_marks_nothing_but_the_reference() -> None:
    (one,) = _material([_searches({"capital Chad": 1.0, "b c": 0.0})], SETTINGS).references
    assert (one.calls, one.stays, one.arguments) == ((), (), ())
    assert chat().decode([one.ids[p] for p in one.answers]) == PROBLEM.reference.text


def test_the_reference_follows_the_results_of_a_play_that_stopped_there() -> None:
    whole = told(PROBLEM, [("search", "capital Chad", "N'Djamena")], "Yes.")
    stopped = replace(whole, transitions=whole.transitions[:1])
    (one,) = _material([_group([("search", stopped, 1.0, 0.9)])], SETTINGS).references
    (other,) = _material([_group([("search", whole, 1.0, 0.9)])], SETTINGS).references
    assert one == other
