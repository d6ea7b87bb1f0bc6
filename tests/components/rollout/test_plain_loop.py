"""The untrained loop: what its texts mean, and that it works down the stack to an end whatever the model writes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from functools import cache
from typing import Any

import pytest
from doubles import FakeToolbox, make_problem
from tiny_models import chat, tiny_policy

from components.environment.replay import replay, walk
from components.policy.turn import GenerateRequest
from components.rollout.plain_loop import PlainLoop, plain_loop, with_stack
from components.rollout.plain_prompts import read_line, read_steps
from components.schema.message import Message, ToolCall
from components.schema.problem import Problem
from components.schema.trajectory import ANSWER, Action, StopReason, Trajectory
from components.tools.prices import PriceSheet

TOOLS = ("search", "python", "split", "give_up")


class Typist:
    """A policy that types prepared texts, with the real tokenizer and nothing behind it."""

    policy_id = "typist"

    def __init__(self, *texts: str) -> None:
        self.chat, self._texts, self.prompts = chat(), iter(texts), list[str]()

    def converse(self, talks: Sequence[Any]) -> list[Any]:
        return [self._talk(talk) for talk in talks]

    def _talk(self, talk: Any) -> Any:
        said: Any = None
        while True:
            try:
                asked = talk.send(said)
            except StopIteration as end:
                return end.value
            said = asked.result() if isinstance(asked, Future) else self._type(asked)

    def _type(self, request: GenerateRequest) -> Action:
        self.prompts.append(self.chat.decode(request.context_ids))
        text = next(self._texts)
        ids = self.chat.encode(text)
        return Action(Message("assistant", text, ids), ANSWER, (True,) * len(ids), (0.0,) * len(ids))


def typed(*texts: str, problem: Problem | None = None) -> tuple[Trajectory, Typist]:
    typist, box = Typist(*texts), FakeToolbox({("search", "Chad capital"): "Capital name: N'Djamena"}, default="4")
    (trajectory,) = plain_loop(typist, [problem or make_problem()], box, seed=0)  # type: ignore[arg-type]
    return trajectory, typist


def test_a_plan_is_made_its_steps_are_done_and_the_notes_are_combined() -> None:
    plan, first = " Find the capital of Chad.\n2. Compute 2+2.", ("SEARCH Chad capital", "ANSWER N'Djamena")
    trajectory, typist = typed(plan, *first, "PYTHON 2+2", "ANSWER 4", "It is N'Djamena.")
    decisions = [t.action.decision for t in trajectory.transitions]
    assert decisions == ["split", "search", ANSWER, "python", ANSWER, ANSWER]
    assert (trajectory.outcome.answer, trajectory.outcome.success) == ("It is N'Djamena.", True)
    assert typist.prompts[2].count("Found: Capital name: N'Djamena") == 1
    assert "Known: Find the capital of Chad. N'Djamena\nTask: Compute 2+2." in typist.prompts[3]
    assert "Known: Compute 2+2. 4\nQuestion: What is the capital of Chad?" in typist.prompts[-1]


def test_its_calls_are_charged_like_anybodys() -> None:
    trajectory, _ = typed("Find it.", "SEARCH Chad capital", "ANSWER N'Djamena", "N'Djamena")
    sheet = PriceSheet()
    assert sheet.units(trajectory.outcome.cost) == pytest.approx(
        sheet.units(sheet.charge("split") + sheet.charge("search"))
    )
    assert trajectory.outcome.cost.prompt_tokens > 0


def test_a_step_that_never_ends_is_made_to_answer() -> None:
    trajectory, typist = typed("Find it.", "SEARCH a", "SEARCH b", "nothing", "N'Djamena")
    assert typist.prompts[3].endswith("ANSWER")
    assert [t.action.decision for t in trajectory.transitions] == ["split", "search", "search", ANSWER, ANSWER]


def test_giving_a_step_up_goes_back_to_the_question() -> None:
    trajectory, typist = typed("Find it.\n2. More.", "GIVE UP no such page", "N'Djamena")
    assert [t.action.decision for t in trajectory.transitions] == ["split", "give_up", ANSWER]
    assert "GIVE UP" not in typist.prompts[-1]
    assert trajectory.outcome.stop_reason is StopReason.ANSWERED


def test_a_tool_that_the_problem_lacks_is_not_called() -> None:
    trajectory, _ = typed("Find it.", "SEARCH a", "N'Djamena", problem=make_problem(tool_names=("python",)))
    assert [t.action.decision for t in trajectory.transitions] == ["split", ANSWER, ANSWER]


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        (" Find a.\n2. Find b.\n3) Add.\n4. More.", ["Find a.", "Find b.", "Add."]),
        (" Find a.\n\nQuestion: another?\n- Find b.", ["Find a.", "Find b."]),
        ("Find a.\n2. Find a.", ["Find a."]),
        ("\n \n", []),
        ("", []),
    ],
)
def test_steps_are_read_off_numbered_lines(text: str, steps: list[str]) -> None:
    assert read_steps(text, most=3) == steps


@pytest.mark.parametrize(
    ("text", "call", "answer"),
    [
        ("SEARCH: Chad capital\nmore", ToolCall("search", {"query": "Chad capital"}), ""),
        ("- PYTHON: 2 + 2", ToolCall("python", {"code": "2 + 2"}), ""),
        ("PYTHON 2 + 2", ToolCall("python", {"code": "2 + 2"}), ""),
        ("GIVE UP no page", ToolCall("give_up", {"reason": "no page"}), ""),
        ("ANSWER: Lima", None, "Lima"),
        ("SEARCH", None, ""),
        ("Lima is the capital.", None, "Lima is the capital."),
    ],
)
def test_a_line_is_a_call_or_an_answer(text: str, call: ToolCall | None, answer: str) -> None:
    said = read_line(text, tool_names=TOOLS)
    assert (said.call, said.answer) == (call, answer)


@cache
def _real() -> tuple[tuple[Problem, ...], tuple[Trajectory, ...]]:
    problems = tuple(make_problem(f"{text}?") for text in ("Why", "2+2", "Who"))
    return problems, plain_loop(tiny_policy(), problems, FakeToolbox(), seed=3)  # type: ignore[arg-type]


def test_whatever_a_model_writes_it_comes_to_an_end_within_its_budget_and_replays() -> None:
    loop = PlainLoop()
    for problem, trajectory in zip(*_real(), strict=True):
        assert trajectory.problem_id == problem.problem_id
        assert trajectory.outcome.cost.calls <= with_stack(problem, loop).budget.max_calls
        assert replay(trajectory, with_stack(problem, loop)) == trajectory
        assert list(walk(trajectory, with_stack(problem, loop)))[-1].state.done
