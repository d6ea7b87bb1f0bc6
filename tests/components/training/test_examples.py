"""Examples: which tokens of a trajectory are learnt. Tool output never is."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from doubles import make_problem
from tiny_models import chat, encoder, specs_of, told

from components.schema.message import Message
from components.schema.trajectory import ANSWER, Trajectory
from components.training.examples import EVERYTHING, Example, Teach

PROBLEM = make_problem()
WORDS = ("Chad", "capital", "3*(4+5)", "N'Djamena", "river?", '"quoted"', "ünï", "\n", "<tool_call>", "12")


def _random_trajectory(draw: random.Random) -> Trajectory:
    def text() -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(1, 6)))

    calls = [(draw.choice(("search", "python")), text(), text()) for _ in range(draw.randint(0, 3))]
    return told(PROBLEM, calls, text())


def _targets(one: Example) -> set[int]:
    openings = {p for start, stop in one.calls for p in range(start, stop)}
    return openings | {*one.stays, *one.arguments, *one.answers}


def _slow_layout(trajectory: Trajectory) -> list[tuple[int, str, str]]:
    """(token, who, kind) of the whole sequence: who is context, tool or policy; kind is forced, written or empty."""
    layout = [(t, "context", "") for t in chat().prompt_ids(PROBLEM.prompt, specs_of(PROBLEM.tool_names))]
    last = len(trajectory.transitions) - 1
    for turn, transition in enumerate(trajectory.transitions):
        action = transition.action
        for token, chosen in zip(action.message.token_ids or (), action.written, strict=True):
            layout.append((token, "policy", "written" if chosen else "forced"))
        if turn < last:
            closing = chat().message_ids(action.message)[len(action.message.token_ids or ()) :]
            layout += [(token, "context", "") for token in closing]
        for result in transition.results:
            layout += [(token, "tool", "") for token in chat().message_ids(Message("tool", result.content))]
    return layout


@pytest.mark.parametrize("seed", range(40))
def test_tool_output_is_never_a_target(seed: int) -> None:
    trajectory = _random_trajectory(random.Random(seed))
    one, layout = encoder().example(trajectory, PROBLEM), _slow_layout(trajectory)
    assert one.ids == tuple(token for token, _, _ in layout)
    assert all(layout[p][1] == "policy" for p in _targets(one))


@pytest.mark.parametrize("seed", range(40))
def test_targets_are_exactly_the_written_tokens_and_the_openings(seed: int) -> None:
    trajectory = _random_trajectory(random.Random(seed))
    one, layout = encoder().example(trajectory, PROBLEM), _slow_layout(trajectory)
    written = {place for place, (_, _, kind) in enumerate(layout) if kind == "written"}
    assert {*one.arguments, *one.answers} == written
    openings = [chat().decode([one.ids[p] for p in range(start, stop)]) for start, stop in one.calls]
    called = [t.action.decision for t in trajectory.transitions if t.action.decision != ANSWER]
    assert openings == [f'<tool_call>{{"name": "{name}' for name in called]
    assert one.stays == one.firsts
    assert [layout[p - 1][1] for p in one.stays] != ["policy"]
    assert len(one.stays) == 1


def test_what_is_not_taught_is_not_marked() -> None:
    calls = [("search", "capital Chad", "N'Djamena"), ("python", "1+2", "3")]
    trajectory = told(PROBLEM, calls, "It is N'Djamena.")
    whole = encoder().example(trajectory, PROBLEM, EVERYTHING)
    later = encoder().example(trajectory, PROBLEM, Teach(first_decision=False, silent=frozenset({"search"})))
    answers = encoder().example(trajectory, PROBLEM, Teach(decisions=False, arguments=False))
    assert (later.calls, later.stays) == (whole.calls[1:], whole.stays)
    assert chat().decode([later.ids[p] for p in later.arguments]).strip() == '"1+2"'
    assert (answers.calls, answers.stays, answers.arguments) == ((), (), ())
    assert (answers.answers, answers.firsts) == (whole.answers, whole.firsts)


def test_a_direct_answer_without_decisions_leaves_the_root_decision_out() -> None:
    trajectory = told(PROBLEM, [], "I do not know.")
    assert encoder().example(trajectory, PROBLEM).stays
    assert not encoder().example(trajectory, PROBLEM, Teach(first_decision=False)).stays


def test_a_sequence_ends_at_its_last_target() -> None:
    trajectory = told(PROBLEM, [("search", "capital Chad", "N'Djamena")], "It is N'Djamena.")
    whole = encoder().example(trajectory, PROBLEM)
    queries = encoder().example(trajectory, PROBLEM, Teach(decisions=False, answers=False))
    assert queries.ids == whole.ids[: whole.arguments[-1] + 1]
    assert (queries.arguments, queries.firsts) == (whole.arguments, ())
    assert whole.ids[-1] == chat().end_id


def test_a_policys_turn_without_tokens_is_encoded_once_and_not_refused() -> None:
    trajectory = told(PROBLEM, [("search", "capital Chad", "N'Djamena")], "It is N'Djamena.")
    bare = tuple(
        replace(t, action=replace(t.action, written=(), message=replace(t.action.message, token_ids=None)))
        for t in trajectory.transitions
    )
    assert encoder().example(replace(trajectory, transitions=bare), PROBLEM) == encoder().example(trajectory, PROBLEM)


def test_problems_that_are_not_known_are_left_out_of_the_pool() -> None:
    trajectory = told(PROBLEM, [], "Yes.")
    assert len(encoder().pool([trajectory], {PROBLEM.problem_id: PROBLEM})) == 1
    assert encoder().pool([trajectory], {}) == ()
