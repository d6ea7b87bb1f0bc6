"""All-actions groups: every decision is tried at the root, siblings share a branch, and rewards follow the record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from doubles import FakeToolbox, make_problem
from tiny_models import tiny_policy

from components.policy.policy import Policy
from components.reward.at_price import at_price
from components.reward.parts import PARTS, cost_of, total
from components.reward.settings import RewardSettings
from components.rollout.groups import Collector, GroupSettings, batch_problems, collect_groups
from components.schema.group import Group
from components.schema.problem import Problem, Reference
from components.schema.trajectory import ANSWER, Trajectory
from components.tools.prices import PriceSheet

PROBLEMS = tuple(make_problem(prompt=f"{text}?", max_calls=2) for text in ("Why", "2+2", "Who"))
SETTINGS = GroupSettings(
    query_families=("fact",),
    families=("fact",),
    batch=2,
    samples=3,
    max_tokens=24,
    temperature=1.0,
    price_warmup_steps=4,
)
REWARD = RewardSettings()


@cache
def policy() -> Policy:
    return tiny_policy()


def score_reference(items: Sequence[tuple[str, Sequence[str], Reference]]) -> list[float]:
    """References are likelier when a tool has answered."""
    return [-0.5 if responses else -2.0 for _, responses, _ in items]


def collect(
    problems: Sequence[Problem] = PROBLEMS, *, seed: int = 5, judging: bool, **reward: Any
) -> tuple[Group, ...]:
    one = replace(collector(), seed=seed, reward=RewardSettings(**reward))
    return one.collect(problems, judging=judging, seed=seed)


@cache
def groups(judging: bool = True) -> tuple[Group, ...]:
    return collect(judging=judging)


def collector() -> Collector:
    return Collector(
        policy(),
        FakeToolbox(),  # type: ignore[arg-type]
        PROBLEMS,
        score_reference,
        PriceSheet(),
        REWARD,
        SETTINGS,
        seed=5,
    )


def test_every_decision_is_judged_once_and_played_to_the_end() -> None:
    for problem, group in zip(PROBLEMS, groups(), strict=True):
        assert [trajectory.forced[0] for trajectory in group.trajectories] == [ANSWER, *problem.tool_names]
        for trajectory in group.trajectories:
            assert trajectory.transitions[0].action.decision == trajectory.forced[0]
            assert trajectory.problem_id == problem.problem_id
            assert trajectory.outcome.success is not None


def test_judged_branches_act_greedily_so_seeds_do_not_matter() -> None:
    again = collect(seed=6, judging=True)
    assert [g.rewards for g in again] == [g.rewards for g in groups()]


def test_siblings_call_the_preferred_tool_and_stop_at_its_results() -> None:
    for group in groups(judging=False):
        preferred = max(("search", "python"), key=lambda tool: group.probs[tool])
        assert [trajectory.forced[0] for trajectory in group.trajectories] == [preferred] * SETTINGS.samples
        for trajectory in group.trajectories:
            assert len(trajectory.transitions) == 1
            ran = bool(trajectory.transitions[0].results)
            assert trajectory.outcome.success is (None if ran else False)


def test_siblings_are_different_samples() -> None:
    siblings = [t for g in groups(judging=False) for t in g.trajectories]
    assert len({t.transitions[0].action.message.content for t in siblings}) > len(PROBLEMS)


def test_the_same_problem_twice_makes_two_groups_of_their_own_branches() -> None:
    twice = collect(PROBLEMS[:1] * 2, judging=False)
    assert [len(group.trajectories) for group in twice] == [SETTINGS.samples] * 2


def test_rewards_are_the_totals_of_the_parts_that_are_written_down() -> None:
    for group in groups():
        for trajectory, reward in zip(group.trajectories, group.rewards, strict=True):
            parts = trajectory.outcome.reward_parts
            assert parts is not None
            assert reward == pytest.approx(total(parts, REWARD)) == trajectory.transitions[-1].reward
            assert set(parts) == set(PARTS)


def test_likelihoods_are_those_of_the_responses() -> None:
    for group in groups():
        for trajectory, value in zip(group.trajectories, group.likelihoods, strict=True):
            responded = any(transition.results for transition in trajectory.transitions)
            assert value == pytest.approx(2.718281828 ** (-0.5 if responded else -2.0))


def test_the_root_is_what_the_policy_decides_on() -> None:
    for problem, group in zip(PROBLEMS, groups(), strict=True):
        assert "Tools: search(query), python(code)." in policy().chat.decode(group.context_ids)
        assert problem.prompt in policy().chat.decode(group.context_ids)
        assert sum(group.probs.values()) == pytest.approx(1.0)


def test_the_price_rises_over_the_first_steps() -> None:
    shares = []
    for step in (0, 4, 9):
        trajectory, reward = next(
            (t, r)
            for g in collector().siblings(step)
            for t, r in zip(g.trajectories, g.rewards, strict=True)
            if t.outcome.cost.calls
        )
        parts = trajectory.outcome.reward_parts or {}
        free = total({**parts, "time": 0.0, "money": 0.0}, REWARD)
        assert free is not None
        shares.append((free - reward) / (REWARD.price * cost_of(parts, REWARD)))
    assert shares == pytest.approx([0.2, 1.0, 1.0])


def test_a_problem_that_tells_a_price_is_paid_and_read_under_it() -> None:
    told = tuple(replace(problem, price=0.7) for problem in PROBLEMS)
    for free, priced in zip(collect(judging=True, price=0.7), collect(told, judging=True, price=0.0), strict=True):
        assert priced.context_ids != free.context_ids
        for trajectory, reward in zip(priced.trajectories, priced.rewards, strict=True):
            parts = trajectory.outcome.reward_parts
            assert parts is not None
            assert reward == total(parts, RewardSettings(price=0.7))


def test_judged_branches_scored_again_under_their_own_price_are_what_they_were() -> None:
    for group in groups():
        again = at_price(group, group.problem, group.context_ids, prices=PriceSheet(), settings=REWARD)
        assert again.rewards == pytest.approx(group.rewards)
        assert again.trajectories == group.trajectories


def test_a_step_repeats_itself() -> None:
    one, other = collector().siblings(3), collector().siblings(3)
    assert [t.trajectory_id for g in one for t in g.trajectories] == [
        t.trajectory_id for g in other for t in g.trajectories
    ]


def test_decisions_are_judged_once_a_problem_in_blocks() -> None:
    told: list[int] = []
    judged = collector().decisions(7, at_once=2, told=told.append)
    assert sorted(g.problem.problem_id for g in judged) == sorted(p.problem_id for p in PROBLEMS)
    assert told == [2, 3]


def test_families_take_turns_and_each_is_walked_through_before_it_repeats() -> None:
    pools = {family: [make_problem(f"{family} {k}?", family=family) for k in range(4)] for family in ("fact", "number")}
    problems = [problem for pool in pools.values() for problem in pool]
    chosen = [
        p for step in range(6) for p in batch_problems(problems, ("fact", "number", "fact"), 2, seed=0, step=step)
    ]
    assert [p.family for p in chosen] == ["fact", "number", "fact"] * 4
    for family, pool in pools.items():
        taken = [p.problem_id for p in chosen if p.family == family][: len(pool)]
        assert sorted(taken) == sorted(p.problem_id for p in pool)


def test_families_without_problems_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="chat, decoy"):
        batch_problems(PROBLEMS, ("chat", "decoy"), 2, seed=0, step=0)


def test_evidence_holds_the_states_that_the_form_needs() -> None:
    def read(**reward: Any) -> set[tuple[int, ...]]:
        return {
            tuple(reading.responses for reading in trajectory.outcome.evidence.readings)
            for group in collect(judging=True, **reward)
            for trajectory in group.trajectories
            if trajectory.outcome.evidence and any(transition.results for transition in trajectory.transitions)
        }

    assert all(len(states) == 1 and states[0] > 0 for states in read())
    assert all(states[0] == 0 and len(states) == 2 for states in read(likelihood="gain"))
    assert all(states == tuple(range(states[-1] + 1)) for states in read(likelihood_mode="potential"))


def test_potentials_leave_finished_branches_of_a_problem_with_the_same_likelihood_part() -> None:
    for group in collect(judging=True, likelihood_mode="potential"):
        parts = [(t.outcome.reward_parts or {})["likelihood"] for t in group.trajectories]
        assert parts == pytest.approx([-math.exp(-2.0)] * len(parts))
        for trajectory, reward in zip(group.trajectories, group.rewards, strict=True):
            assert sum(t.reward or 0.0 for t in trajectory.transitions) == pytest.approx(reward)


def test_distractors_are_scored_at_every_state_and_recorded() -> None:
    problems = [make_problem(f"{text}?", answer, max_calls=2) for text, answer in (("Why", "Lima"), ("Who", "Rome"))]
    one = replace(collector(), problems=tuple(problems), reward=RewardSettings(distractors=1))
    for group in one.collect(problems, judging=True, seed=1):
        for trajectory in group.trajectories:
            assert trajectory.outcome.evidence is not None
            assert [len(reading.rivals) for reading in trajectory.outcome.evidence.readings] == [1]


def test_a_group_with_an_unscored_part_is_refused() -> None:
    def unread(trajectories: Sequence[Trajectory], problems: Sequence[Problem]) -> Sequence[Trajectory]:
        return trajectories

    with pytest.raises(ValueError, match="unscored parts"):
        collect_groups(
            policy(),
            PROBLEMS[:1],
            FakeToolbox(),  # type: ignore[arg-type]
            judge=unread,
            prices=PriceSheet(),
            reward=REWARD,
            settings=SETTINGS,
            seed=0,
        )
