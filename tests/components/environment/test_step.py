"""The environment is a function; whatever the model writes, a trajectory ends with a reason."""

import json
from dataclasses import replace

import pytest
from doubles import FakeToolbox, ScriptedPolicy, call_action, make_problem, play, text_action
from hypothesis import given, settings
from hypothesis import strategies as st

from components.environment.replay import ReplayMismatch, replay
from components.environment.step import finish, start, step, step_many
from components.records.codec import from_json, to_json
from components.schema.cost import Cost
from components.schema.message import ToolCall
from components.schema.trajectory import StopReason, Trajectory
from components.tools.grammar import render_call
from components.tools.prices import PriceSheet

PRICES = PriceSheet()
SEARCH = render_call(ToolCall("search", {"query": "capital Chad"}))
BOX = {("search", "capital Chad"): "[Chad: Government] Capital name: N'Djamena"}
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
turns = st.lists(
    any_text
    | any_text.map(lambda text: render_call(ToolCall("search", {"query": text})))
    | any_text.map(lambda text: render_call(ToolCall("python", {"code": text})))
    | st.sampled_from(["", SEARCH, SEARCH[:-1], "<tool_call>", '<tool_call>{"name": "x"}</tool_call>', "N'Djamena"]),
    min_size=1,
    max_size=5,
)


def end(*texts: str, max_calls: int = 3) -> Trajectory:
    return play(make_problem(max_calls=max_calls), ScriptedPolicy(texts), FakeToolbox(BOX))


def test_a_call_then_an_answer() -> None:
    trajectory = end(SEARCH, "It is N'Djamena.")
    assert trajectory.outcome.stop_reason is StopReason.ANSWERED
    assert trajectory.outcome.answer == "It is N'Djamena."
    assert trajectory.outcome.success
    assert trajectory.outcome.cost.calls == 1
    assert trajectory.transitions[0].results[0].content == BOX[("search", "capital Chad")]


@pytest.mark.parametrize(
    ("text", "stop"),
    [
        ("N'Djamena", StopReason.ANSWERED),
        ("  ", StopReason.NO_ANSWER),
        ("<tool_call>{nonsense", StopReason.MALFORMED),
        ('<tool_call>{"name": "browse", "arguments": {}}</tool_call>', StopReason.MALFORMED),
        ('<tool_call>{"name": "search", "arguments": {"query": 3}}</tool_call>', StopReason.MALFORMED),
        ('<tool_call>{"name": "search", "arguments": {}}</tool_call>', StopReason.MALFORMED),
        ('<tool_call>{"arguments": {}}</tool_call>', StopReason.MALFORMED),
    ],
)
def test_every_turn_that_is_no_call_ends_the_trajectory_with_a_reason(text: str, stop: StopReason) -> None:
    trajectory = end(text)
    assert trajectory.outcome.stop_reason is stop
    assert (trajectory.outcome.answer is None) == (stop is not StopReason.ANSWERED)
    assert len(trajectory.transitions) == 1


def test_an_answer_that_never_ended_is_truncated_and_keeps_its_text() -> None:
    state, transition = step(
        start(make_problem()), text_action("and so on " * 9, stop=StopReason.TRUNCATED), FakeToolbox()
    )
    assert state.done
    trajectory = finish(state, [transition], policy_id="p", seed=0, success=False)
    outcome = trajectory.outcome
    assert (outcome.stop_reason, outcome.answer) == (StopReason.TRUNCATED, ("and so on " * 9).strip())


def test_a_call_beyond_the_budget_is_not_run() -> None:
    box = FakeToolbox(BOX)
    trajectory = play(make_problem(max_calls=2), ScriptedPolicy([SEARCH]), box)
    assert trajectory.outcome.stop_reason is StopReason.OUT_OF_BUDGET
    assert len(box.calls) == 2
    assert trajectory.outcome.cost.calls == 2
    assert trajectory.transitions[-1].results == ()


def test_a_tool_that_the_problem_does_not_offer_is_malformed() -> None:
    problem, box = make_problem(tool_names=("python",)), FakeToolbox()
    trajectory = play(problem, ScriptedPolicy([SEARCH]), box)
    assert trajectory.outcome.stop_reason is StopReason.MALFORMED
    assert box.calls == []


def test_a_trajectory_stopped_from_outside_is_out_of_budget() -> None:
    state, transition = step(start(make_problem()), call_action("search", query="a"), FakeToolbox())
    assert not state.done
    for transitions in ([], [transition]):
        stopped = finish(state, transitions, policy_id="p", seed=0, success=None)
        assert stopped.outcome.stop_reason is StopReason.OUT_OF_BUDGET


def test_a_finished_trajectory_cannot_be_stepped() -> None:
    state, _ = step(start(make_problem()), text_action("N'Djamena"), FakeToolbox())
    with pytest.raises(ValueError, match="is over"):
        step(state, text_action("more"), FakeToolbox())


def test_costs_accumulate_with_tokens() -> None:
    state = start(make_problem())
    state, first = step(state, call_action("search", query="a"), FakeToolbox(), prompt_tokens=50)
    state, second = step(state, text_action("four"), FakeToolbox(), prompt_tokens=80, completion_tokens=5)
    written = len(first.action.message.token_ids or ())
    assert first.cost == PRICES.charge("search") + Cost(prompt_tokens=50, completion_tokens=written)
    assert second.cost == Cost(prompt_tokens=80, completion_tokens=5)
    assert state.spent == first.cost + second.cost


def test_stepping_together_is_stepping_one_by_one() -> None:
    problems = [make_problem(f"Question {i}?") for i in range(4)]
    states = [start(problem) for problem in problems]
    actions = [
        call_action("search", query="a"),
        text_action("yes"),
        text_action("<tool_call>"),
        call_action("python", code="1"),
    ]
    box = FakeToolbox(default="found")
    together = step_many(states, actions, box, prompt_tokens=[1, 2, 3, 4])
    alone = [
        step(state, action, FakeToolbox(default="found"), prompt_tokens=tokens)
        for state, action, tokens in zip(states, actions, [1, 2, 3, 4], strict=True)
    ]
    assert together == alone
    assert [call.name for call in box.calls] == ["search", "python"]


def test_a_state_carries_what_the_policy_may_know() -> None:
    state, transition = step(start(make_problem()), call_action("search", query="capital Chad"), FakeToolbox(BOX))
    assert [m.role for m in state.messages] == ["user", "assistant", "tool"]
    assert state.messages[0].content == "What is the capital of Chad?"
    assert state.messages[2].content == BOX[("search", "capital Chad")]
    assert state.calls == ((ToolCall("search", {"query": "capital Chad"}), transition.results[0]),)


def test_identity_is_content() -> None:
    assert end(SEARCH, "a").trajectory_id == end(SEARCH, "a").trajectory_id
    assert len({end(*texts).trajectory_id for texts in [(SEARCH, "a"), (SEARCH, "b"), ("a",)]}) == 3


@settings(max_examples=150, deadline=None)
@given(turns, st.integers(0, 3))
def test_replaying_a_stored_trajectory_gives_its_recorded_outcome(texts: list[str], max_calls: int) -> None:
    problem = make_problem(max_calls=max_calls)
    trajectory = play(problem, ScriptedPolicy(texts), FakeToolbox(BOX))
    stored = from_json(Trajectory, json.loads(json.dumps(to_json(trajectory))))
    scored = replace(stored, outcome=replace(stored.outcome, reward_parts={"correct": 1.0}))
    assert replay(scored, problem) == scored


def test_a_record_that_does_not_fit_its_actions_is_refused() -> None:
    trajectory = end(SEARCH, "N'Djamena")
    first, last = trajectory.transitions
    lost = replace(trajectory, transitions=(replace(first, results=()), last))
    with pytest.raises(ReplayMismatch, match="turn 0 needs a reply, 0 results were recorded"):
        replay(lost, make_problem())
    invented = replace(trajectory, transitions=(first, replace(last, results=first.results)))
    with pytest.raises(ReplayMismatch, match="turn 1 needs nothing, 1 results were recorded"):
        replay(invented, make_problem())
    nested = replace(trajectory, transitions=(replace(first, nested=(trajectory,)), last))
    with pytest.raises(ReplayMismatch, match="turn 0 has 1 nested trajectories, its action makes none"):
        replay(nested, make_problem())
