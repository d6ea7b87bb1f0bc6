"""Annotated preferences as a verdict on actions: only where the state is the same, None where nothing was said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from doubles import FakeToolbox, ScriptedPolicy, call_action, make_problem, play, text_action

from components.reward.preference import no_verdict, verdict_of
from components.schema.curated import ActionPreference
from components.schema.trajectory import Action, Trajectory, Transition

PROBLEM = make_problem()
SEARCH, OTHER, PYTHON = (
    call_action("search", query="a"),
    call_action("search", query="b"),
    call_action("python", code="1"),
)
ANSWER = text_action("It is N'Djamena.")


def _pair(
    chosen: Action, rejected: Action, *, confidence: float = 0.9, steps: tuple[Transition, ...] = ()
) -> ActionPreference:
    return ActionPreference("p", PROBLEM.problem_id, steps, chosen, rejected, confidence)


def _played(*actions: Action) -> Trajectory:
    return play(PROBLEM, ScriptedPolicy([a.message.content for a in (*actions, ANSWER)]), FakeToolbox())


def test_the_chosen_decision_is_praised_and_the_rejected_one_blamed_by_confidence() -> None:
    verdict = verdict_of([_pair(SEARCH, ANSWER)])
    assert verdict(_played(OTHER)) == pytest.approx(0.8)
    assert verdict(_played()) == pytest.approx(-0.8)


def test_what_no_pair_speaks_of_is_none_and_not_zero() -> None:
    assert verdict_of([_pair(SEARCH, ANSWER)])(_played(PYTHON)) is None
    assert verdict_of([])(_played()) is None
    assert no_verdict(_played()) is None
    elsewhere = replace(_pair(SEARCH, ANSWER), problem_id="other")
    assert verdict_of([elsewhere])(_played(SEARCH)) is None


def test_a_pair_about_arguments_speaks_of_equal_arguments_only() -> None:
    verdict = verdict_of([_pair(SEARCH, OTHER, confidence=0.75)])
    assert [verdict(_played(a)) for a in (SEARCH, OTHER)] == pytest.approx([0.5, -0.5])
    assert verdict(_played(call_action("search", query="c"))) is None


def test_a_pair_speaks_only_after_the_same_calls_with_the_same_results() -> None:
    steps = _played(SEARCH).transitions[:1]
    verdict = verdict_of([_pair(ANSWER, PYTHON, steps=steps)])
    assert verdict(_played(SEARCH)) == pytest.approx(0.8)
    assert verdict(_played(OTHER)) is None
    changed = replace(steps[0], results=(replace(steps[0].results[0], content="Something else."),))
    assert verdict_of([_pair(ANSWER, PYTHON, steps=(changed,))])(_played(SEARCH)) is None


def test_several_verdicts_are_averaged() -> None:
    steps = _played(SEARCH).transitions[:1]
    verdict = verdict_of([_pair(SEARCH, ANSWER, confidence=1.0), _pair(PYTHON, ANSWER, confidence=0.75, steps=steps)])
    assert verdict(_played(SEARCH)) == pytest.approx((1.0 - 0.5) / 2)
