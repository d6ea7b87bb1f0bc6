"""Nested calls played by a model: side by side as one at a time, replayable, credited, and all of it learnt from."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from doubles import FakeToolbox, make_problem
from tiny_models import encoder, tiny_policy

from components.environment.replay import replay
from components.policy.policy import Policy
from components.reward.parts import cost_of, reward_parts
from components.reward.settings import RewardSettings
from components.rollout import RolloutSettings, rollout
from components.rollout.groups import Collector, GroupSettings
from components.schema.cost import Cost
from components.schema.group import Group
from components.schema.nested import every_transition, map_transitions, nested_in
from components.schema.problem import Nesting, Problem
from components.schema.trajectory import StopReason, Trajectory, Transition
from components.tools.prices import PriceSheet
from components.training.actor_critic import arguments_with_advantages
from components.training.advantage import advantages
from components.training.examples import EVERYTHING, Example
from components.training.material import LEAST_ADVANTAGE, material
from components.training.settings import ReinforceSettings

ALL = ("search", "python", "delegate", "split", "give_up")
PRICES = PriceSheet()
HOT = RolloutSettings(temperature=0.1, decision_temperature=1.0)
"""Cooler words than decisions: where the tiny model has no habit its words are almost equally likely, all 49,152:
on some processors the rounding of a batch decides which of two neighbours is drawn."""
FORCES = (("delegate",), ("search", "delegate"), ("split",), (), ("delegate", "delegate"))


@cache
def policy() -> Policy:
    return tiny_policy()


@cache
def cramped() -> Policy:
    return tiny_policy(slots=2, prefill_tokens=256)


def _problems() -> tuple[Problem, ...]:
    prompts = ("Why", "2+2", "What is it", "Who", "Where is Mali")
    nesting = Nesting(depth=2, calls=4)
    return tuple(make_problem(f"{text}?", max_calls=6, tool_names=ALL, nesting=nesting) for text in prompts)


def _toolbox() -> FakeToolbox:
    return FakeToolbox({("search", "python"): "Mali: Capital: Bamako", ("python", "python"): "4"}, default="Nothing.")


@cache
def played() -> tuple[Trajectory, ...]:
    return rollout(policy(), _problems(), _toolbox(), seed=7, force=FORCES, settings=HOT)  # type: ignore[arg-type]


def _without_floats(trajectory: Trajectory) -> Trajectory:
    def bare(transition: Transition) -> Transition:
        return replace(transition, action=replace(transition.action, logprobs=None, decision_probs=None))

    return map_transitions(trajectory, bare)


def test_nested_calls_side_by_side_are_the_same_as_one_at_a_time() -> None:
    assert any(t.nested for one in played() for t in one.transitions)
    in_pairs = rollout(cramped(), _problems(), _toolbox(), seed=7, force=FORCES, settings=HOT)  # type: ignore[arg-type]
    assert list(map(_without_floats, in_pairs)) == list(map(_without_floats, played()))
    for problem, force, one in zip(_problems(), FORCES, played(), strict=True):
        (alone,) = rollout(policy(), [problem], _toolbox(), seed=7, force=[force], settings=HOT)  # type: ignore[arg-type]
        assert _without_floats(alone) == _without_floats(one)


def test_trajectories_with_nested_calls_replay_to_themselves() -> None:
    for problem, one in zip(_problems(), played(), strict=True):
        assert replay(one, problem) == one


def test_what_a_nested_call_cost_is_in_every_total_above_it() -> None:
    for one in played():
        calls = [t.action.call for t in every_transition(one) if t.action.call is not None and t.results]
        assert one.outcome.cost.calls == len(calls) <= 6
        assert one.outcome.cost.money == pytest.approx(sum(PRICES.charge(call.name).money for call in calls))


def test_a_nested_call_that_is_cut_off_is_an_error_and_the_caller_goes_on() -> None:
    (problem,) = _problems()[:1]
    short = replace(problem, budget=replace(problem.budget, max_answer_tokens=1, nesting=Nesting(depth=1, calls=1)))
    (one,) = rollout(policy(), [short], _toolbox(), seed=0, force=("delegate",))  # type: ignore[arg-type]
    ((_, nested),) = nested_in(one)
    assert nested.outcome.stop_reason is StopReason.TRUNCATED
    (result,) = one.transitions[0].results
    assert (result.content, result.is_error) == ("Error: delegate: no answer, truncated.", True)
    assert len(one.transitions) > 1


def test_an_answer_that_nobody_knows_is_not_judged() -> None:
    assert all(nested.outcome.success is None for one in played() for _, nested in nested_in(one))
    assert all(one.outcome.success is not None for one in played())


def test_nested_costs_can_be_hidden_from_the_reward_but_not_from_the_record() -> None:
    hidden, rolled_up = RewardSettings(nested_costs=False), RewardSettings()
    seen = 0
    for one in played():
        inside = sum(PRICES.units(nested.outcome.cost) for _, nested in nested_in(one))
        whole = cost_of(reward_parts(one, prices=PRICES, settings=rolled_up), rolled_up)
        own = cost_of(reward_parts(one, prices=PRICES, settings=hidden), hidden)
        assert whole == pytest.approx(PRICES.units(one.outcome.cost))
        assert own == pytest.approx(whole - inside)
        seen += inside > 0
    assert seen


# Groups and training --------------------------------------------------------------------------------------------------


@cache
def siblings() -> tuple[Group, ...]:
    problems = [replace(problem, tool_names=("delegate", "split")) for problem in _problems()[:2]]
    settings = GroupSettings(
        ("fact",), ("fact",), batch=2, samples=4, max_tokens=24, temperature=1.0, price_warmup_steps=0
    )
    collector = Collector(
        policy(),
        _toolbox(),  # type: ignore[arg-type]
        tuple(problems),
        lambda items: [-0.1 * len(" ".join(shown)) for _, shown, _ in items],
        PRICES,
        RewardSettings(),
        settings,
        seed=5,
    )
    return collector.collect(problems, judging=False, seed=5)


def test_the_siblings_of_a_nested_call_stop_at_its_result_not_inside_it() -> None:
    for group in siblings():
        assert [one.forced for one in group.trajectories] == [("delegate",)] * 4, "a split tells nothing at once"
        for one in group.trajectories:
            assert len(one.transitions) == 1
            for _, nested in nested_in(one):
                assert nested.outcome.stop_reason is not StopReason.OUT_OF_BUDGET, "that is: stopped from outside"


def test_nested_turns_are_credited_with_the_return_of_the_whole() -> None:
    seen = 0
    for group in siblings():
        for one, reward in zip(group.trajectories, group.rewards, strict=True):
            assert one.transitions[-1].reward == reward
            for last in _lasts(one):
                assert last.reward == reward
                seen += 1
    assert seen


def _lasts(trajectory: Trajectory) -> list[Transition]:
    inside = [inner for _, inner in nested_in(trajectory)]
    return [inner.transitions[-1] for inner in inside] + [last for inner in inside for last in _lasts(inner)]


def _written(trajectory: Trajectory) -> int:
    return sum(sum(transition.action.written) for transition in every_transition(trajectory))


def _learnt(examples: list[Example] | tuple[Example, ...]) -> int:
    return sum(len(one.arguments) + len(one.answers) for one in examples)


def test_every_token_that_was_written_is_learnt_nested_or_not() -> None:
    for problem, one in zip(_problems(), played(), strict=True):
        examples = encoder().examples(one, problem, EVERYTHING)
        assert _learnt(examples) == _written(one)
        assert len(examples) == 1 + sum(len(t.nested) for t in every_transition(one))
    known = {problem.problem_id: problem for problem in _problems()}
    assert _learnt(encoder().pool(played(), known)) == sum(map(_written, played()))


def test_a_nested_example_begins_with_what_the_nested_policy_read() -> None:
    problem, one = _problems()[0], played()[0]
    (question, nested), *_ = nested_in(one)
    example = encoder().examples(one, problem)[1]
    asked = replace(problem, prompt=question)
    assert example.ids == encoder().example(nested, asked).ids


def test_policy_gradients_reach_nested_turns_with_the_advantage_of_the_whole() -> None:
    settings = ReinforceSettings()
    learnt = material(siblings(), (), encoder(), settings).arguments
    expected = [
        (advantage, _written(one))
        for group in siblings()
        for one, advantage in zip(group.trajectories, advantages(group), strict=True)
        if abs(advantage) >= LEAST_ADVANTAGE
    ]
    assert expected
    for advantage, written in expected:
        mine = [one for one in learnt if one.weight == advantage]
        same = sum(other == advantage for other, _ in expected)
        assert same > 1 or _learnt(mine) == written
    assert not any(one.answers for one in learnt), "an inner answer is weighed, not imitated"


def test_an_actor_with_exact_critics_learns_nested_turns_as_policy_gradients_do() -> None:
    made = material(siblings(), (), encoder(), ReinforceSettings(form="actor_critic"))
    learnt = [
        example
        for group, episodes in zip(siblings(), made.episodes, strict=True)
        for example in arguments_with_advantages(episodes, group.rewards)
    ]
    assert learnt == list(made.arguments)
    assert len(learnt) > sum(len(group.trajectories) for group in siblings()) // 2


def test_without_nested_calls_examples_are_what_they_were() -> None:
    problem = make_problem()
    (one,) = rollout(policy(), [problem], _toolbox(), seed=0, force=("search",))  # type: ignore[arg-type]
    assert encoder().examples(one, problem) == (encoder().example(one, problem),)
    assert one.outcome.cost == sum((t.cost for t in one.transitions), Cost())
