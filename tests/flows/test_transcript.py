"""What a person reads of a trajectory: nested calls and sub-tasks are indented, and every call says what it cost."""

from __future__ import annotations

from dataclasses import replace

from doubles import FakeToolbox, ScriptedPolicy, make_problem, play, text_action

from components.schema.message import Message, ToolCall
from components.schema.problem import Nesting
from components.schema.trajectory import Action, State
from components.tools.grammar import render_call
from components.tools.prices import PriceSheet
from flows.shared.transcript import summary_line, transcript

ALL = ("search", "python", "delegate", "split", "give_up")


def _call(name: str, **arguments: object) -> str:
    return render_call(ToolCall(name, arguments))


class ByQuestion(ScriptedPolicy):
    """One script for the problem and one for what is nested in it."""

    def __init__(self, outer: list[str], inner: list[str]) -> None:
        self._outer, self._inner = ScriptedPolicy(outer), inner

    def act(self, state: State) -> Action:
        turn = sum(message.role == "assistant" for message in state.messages)
        nested = state.problem.prompt == "Which river?"
        return text_action(self._inner[turn]) if nested else self._outer.act(state)


def test_nested_calls_and_subtasks_are_indented_with_their_costs() -> None:
    outer = [
        _call("split", tasks=["the river", "the rest"]),
        _call("delegate", question="Which river?"),
        "the Chari",
        _call("give_up", reason="no page"),
        "On the Chari.",
    ]
    problem = make_problem(tool_names=ALL, max_calls=6, nesting=Nesting(depth=1))
    policy = ByQuestion(outer, [_call("search", query="Chad river"), "It is the Chari."])
    trajectory = play(problem, policy, FakeToolbox(default="Chari, Logone"))
    assert transcript(trajectory, problem, PriceSheet().units) == [
        "call    split(tasks=['the river', 'the rest'])  0.12 units",
        "  result  Sub-task 1 of 2: the river",
        "  call    delegate(question='Which river?')  1.30 units",
        "    call    search(query='Chad river')  1.00 units",
        "    result  Chari, Logone",
        "    answer  It is the Chari.",
        "    cost    1.00 units (1 calls, 0.4 s, 0.002 money)",
        "  result  It is the Chari.",
        "  answer  the Chari",
        "  result  Sub-task 2 of 2: the rest",
        "  call    give_up(reason='no page')  0.12 units",
        "result  the river: the Chari",
        "result  Given up: the rest (no page)",
        "result  Now: What is the capital of Chad?",
    ]
    line = summary_line(trajectory.outcome.cost, PriceSheet().units)
    assert line == "cost    1.55 units (4 calls, 0.8 s, 0.0022 money)"


def test_a_nested_call_without_an_answer_says_why() -> None:
    problem = make_problem(tool_names=ALL, nesting=Nesting(depth=1))
    policy = ByQuestion([_call("delegate", question="Which river?"), "N'Djamena"], [_call("give_up", reason="?")])
    lines = transcript(play(problem, policy, FakeToolbox()), problem, PriceSheet().units)
    assert "  answer  (none: gave_up)" in lines
    assert lines[-1] == "result  Error: delegate: gave up, ?."


def test_an_answer_that_was_left_for_a_call_is_shown_before_it() -> None:
    problem = make_problem(tool_names=ALL)
    trajectory = play(problem, ScriptedPolicy([_call("search", query="Chad"), "N'Djamena."]), FakeToolbox(default="x"))
    first = trajectory.transitions[0]
    left = replace(first.action, draft=Message("assistant", "It is Moundou. "))
    drafted = replace(trajectory, transitions=(replace(first, action=left), *trajectory.transitions[1:]))
    assert transcript(drafted, problem, PriceSheet().units) == [
        "left    It is Moundou.",
        "call    search(query='Chad')  1.00 units",
        "result  x",
    ]
