"""Rollouts: many problems in lockstep are the same as one at a time, and end as their budget says."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path

import own_functions
import pytest
import torch
from doubles import PASSAGES, FakeToolbox, cut_words, make_problem
from tiny_models import tiny_policy

from components.environment.replay import replay
from components.policy.policy import Policy
from components.rollout import RolloutSettings, rollout
from components.schema.message import ToolCall, ToolResult
from components.schema.problem import Problem
from components.schema.trajectory import ANSWER, StopReason, Trajectory
from components.tools.open_toolbox import open_toolbox
from components.tools.own_tools import Surroundings
from components.tools.prices import PriceSheet
from components.tools.settings import PriceSettings, ToolPrice, ToolSettings

FORCES = ((), ("search",), ("python", "search"), ("search", "search", "search", "search"), (ANSWER,))
SETTINGS = RolloutSettings(temperature=0.8, decision_temperature=1.0)


@cache
def policy() -> Policy:
    return tiny_policy()


@cache
def cramped() -> Policy:
    return tiny_policy(slots=2, prefill_tokens=256)


def _problems() -> list[Problem]:
    return [
        make_problem(prompt=f"{text}?", max_calls=2) for text in ("Why", "2+2", "What is it", "Who", "Where is Mali")
    ]


def _toolbox() -> FakeToolbox:
    return FakeToolbox({("search", "python"): "Mali: Capital: Bamako", ("python", "python"): "4"}, default="Nothing.")


def _without_floats(trajectory: Trajectory) -> Trajectory:
    actions = [replace(t.action, logprobs=None, decision_probs=None) for t in trajectory.transitions]
    return replace(
        trajectory,
        transitions=tuple(replace(t, action=a) for t, a in zip(trajectory.transitions, actions, strict=True)),
    )


@pytest.mark.parametrize("settings", [RolloutSettings(), SETTINGS])
def test_lockstep_is_the_same_as_one_problem_at_a_time(settings: RolloutSettings) -> None:
    problems, toolbox = _problems(), _toolbox()
    together = rollout(policy(), problems, toolbox, seed=7, force=FORCES, settings=settings)
    in_pairs = rollout(cramped(), problems, toolbox, seed=7, force=FORCES, settings=settings)
    assert len({len(trajectory.transitions) for trajectory in together}) > 1
    for problem, force, one, other in zip(problems, FORCES, together, in_pairs, strict=True):
        (alone,) = rollout(policy(), [problem], toolbox, seed=7, force=[force], settings=settings)
        for again in (alone, other):
            assert _without_floats(again) == _without_floats(one)
            for a, b in zip(again.transitions, one.transitions, strict=True):
                assert torch.allclose(torch.tensor(a.action.logprobs), torch.tensor(b.action.logprobs), atol=1e-3)


def test_forced_decisions_are_taken_and_written_down() -> None:
    for force, trajectory in zip(FORCES, rollout(policy(), _problems(), _toolbox(), seed=0, force=FORCES), strict=True):
        taken = [transition.action.decision for transition in trajectory.transitions]
        forced = force[:2]
        assert taken[: len(forced)] == list(forced)
        assert trajectory.forced == force
    every = rollout(policy(), _problems(), _toolbox(), seed=0, force=("search",))
    assert all(trajectory.transitions[0].action.decision == "search" for trajectory in every)


def test_once_the_calls_are_used_up_an_answer_is_all_that_is_left() -> None:
    (trajectory,) = rollout(policy(), _problems()[:1], _toolbox(), seed=0, force=("search",) * 5)
    assert [t.action.decision for t in trajectory.transitions] == ["search", "search", ANSWER]
    assert trajectory.outcome.stop_reason in (StopReason.ANSWERED, StopReason.TRUNCATED)
    assert trajectory.outcome.cost.calls == 2


def test_without_tools_shown_the_bare_model_answers() -> None:
    bare = RolloutSettings(show_tools=False)
    trajectories = rollout(policy(), _problems(), _toolbox(), seed=0, settings=bare)
    assert all([t.action.decision for t in one.transitions] == [ANSWER] for one in trajectories)


def test_stored_trajectories_replay_to_themselves() -> None:
    problems = _problems()
    for problem, trajectory in zip(
        problems, rollout(policy(), problems, _toolbox(), seed=3, force=FORCES, settings=SETTINGS), strict=True
    ):
        assert replay(trajectory, problem) == trajectory


def test_copies_of_a_problem_differ_and_a_seed_repeats_them() -> None:
    problem = _problems()[0]
    copies = rollout(policy(), [problem] * 6, _toolbox(), seed=1, force=("search",), settings=SETTINGS)
    assert len({one.seed for one in copies}) == 6
    assert len({one.transitions[0].action.message.token_ids for one in copies}) > 1
    again = rollout(policy(), [problem] * 6, _toolbox(), seed=1, force=("search",), settings=SETTINGS)
    assert list(map(_without_floats, again)) == list(map(_without_floats, copies))


def test_the_checker_judges_the_answer() -> None:
    right, wrong = make_problem("Mali?", "Bamako"), make_problem("Chad?", "N'Djamena")
    good, bad = rollout(policy(), [right, wrong], _toolbox(), seed=0, force=(ANSWER,))
    assert good.outcome.answer == bad.outcome.answer == "It is Bamako."
    assert (good.outcome.success, bad.outcome.success) == (True, False)


def test_progress_is_told_problem_by_problem() -> None:
    told: list[int] = []
    rollout(cramped(), _problems(), _toolbox(), seed=0, force=(ANSWER,), on_done=told.append)
    assert told == [1, 2, 3, 4, 5]


class SlowToolbox(FakeToolbox):
    """Answers after a while, from threads."""

    def __init__(self, seconds: float) -> None:
        super().__init__({("search", "python"): "Mali: Capital: Bamako", ("python", "python"): "4"}, default="Nothing.")
        self._seconds, self._pool = seconds, ThreadPoolExecutor(8)
        self.running = 0
        self.most = 0

    def submit(self, call: ToolCall) -> Future[ToolResult]:
        return self._pool.submit(self._slowly, call)

    def _slowly(self, call: ToolCall) -> ToolResult:
        self.running += 1
        self.most = max(self.most, self.running)
        time.sleep(self._seconds)
        self.running -= 1
        return self.call(call)


def test_how_long_tools_take_changes_nothing_but_the_time() -> None:
    problems = _problems() * 3
    forces = FORCES * 3
    quick = rollout(policy(), problems, _toolbox(), seed=7, force=forces, settings=SETTINGS)
    for seconds in (0.002, 0.05):
        box = SlowToolbox(seconds)
        slow = rollout(policy(), problems, box, seed=7, force=forces, settings=SETTINGS)
        assert list(map(_without_floats, slow)) == list(map(_without_floats, quick))
    assert box.most > 1, "tools run side by side"


def test_a_tool_that_never_returns_is_given_up_and_the_plays_beside_it_are_unaffected() -> None:
    settings = ToolSettings.model_validate({"own": {"functions": ["own_functions:stuck"]}, "timeouts": {"stuck": 0.2}})
    prices = PriceSheet(PriceSettings(tools={**PriceSettings().tools, "stuck": ToolPrice(money=0.1, seconds=0.1)}))
    around = Surroundings(Path(own_functions.__file__).parent, {})
    box = open_toolbox(settings, prices, PASSAGES, cut=cut_words, clock=time.monotonic, surroundings=around)
    stuck = make_problem(prompt="Wait?", tool_names=("search", "python", "stuck"))
    problems, forces = [stuck, *_problems()], [("stuck",), *FORCES]
    try:
        given_up, *others = rollout(policy(), problems, box, seed=7, force=forces)
        alone = rollout(policy(), problems[1:], box, seed=7, force=forces[1:])
    finally:
        own_functions.RELEASED.set()
        box.close()
    (result,) = given_up.transitions[0].results
    assert (result.is_error, result.content) == (True, "TimeoutError: stuck gave no answer within 0.2 s.")
    assert len(given_up.transitions) > 1, "it goes on with the error"
    assert [_calls_and_answer(one) for one in others] == [_calls_and_answer(one) for one in alone]


def _calls_and_answer(trajectory: Trajectory) -> list[tuple[str, list[str]]]:
    return [(t.action.message.content, [r.content for r in t.results]) for t in trajectory.transitions]


def test_a_play_that_stops_at_results_makes_the_same_first_call_and_is_not_judged() -> None:
    short = RolloutSettings(stop_at_results=True)
    forces = [("search",), (ANSWER,)]
    problems, toolbox = _problems()[:2], _toolbox()
    stopped = rollout(policy(), problems, toolbox, seed=7, force=forces, settings=short)
    whole = rollout(policy(), problems, toolbox, seed=7, force=forces)
    assert [t.action.message.token_ids for t in stopped[0].transitions] == [
        whole[0].transitions[0].action.message.token_ids
    ]
    assert stopped[0].transitions[0].results == whole[0].transitions[0].results != ()
    assert stopped[0].outcome.success is None
    assert _without_floats(stopped[1]) == _without_floats(whole[1])
