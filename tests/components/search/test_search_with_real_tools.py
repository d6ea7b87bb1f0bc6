"""The search through the real environment, index and interpreter, with a scripted policy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count

import pytest
from doubles import ScriptedPolicy, play
from toy_search import in_advance, make_problem

from components.environment.replay import replay
from components.environment.step import step_many
from components.reward.checkers import check
from components.schema.message import Message, ToolCall
from components.schema.nested import every_transition
from components.schema.problem import Budget, CheckerSpec, Problem, Reference
from components.schema.proposal import Proposal, ProposalRequest
from components.schema.trajectory import ANSWER, Action, State, StopReason, Trajectory
from components.search.best import cheapest_correct
from components.search.mcts import search
from components.search.rows import Provenance, tree_rows
from components.search.verbs import Verbs
from components.search.worth import uninformed
from components.tools.grammar import render_call
from components.tools.open_toolbox import open_toolbox
from components.tools.prices import PriceSheet
from components.tools.search_index import Passage
from components.tools.settings import ToolSettings
from components.tools.toolbox import Toolbox

PASSAGES = [
    Passage("chad-1", "Chad", "Factbook", "The capital of Chad is N'Djamena.", False),
    Passage("chad-2", "Chad", "Factbook", "The area of Chad is 1284000 square kilometres.", False),
    Passage("mali-1", "Mali", "Factbook", "The capital of Mali is Bamako.", False),
]


@pytest.fixture
def toolbox() -> Iterator[Toolbox]:
    ticks = count()
    opened = open_toolbox(
        ToolSettings(),
        PriceSheet(),
        PASSAGES,
        cut=lambda text, budget: " ".join(text.split()[:budget]),
        clock=lambda: float(next(ticks)),
    )
    yield opened
    opened.close()


def problem(name: str, family: str, answer: str, *, calls: int) -> Problem:
    checker = CheckerSpec("number", {"value": float(answer), "relative_tolerance": 0.001})
    return replace(
        make_problem(name, family=family),
        tool_names=("search", "python"),
        reference=Reference(f"It is {answer}.", answer),
        checker=checker,
        budget=Budget(max_calls=calls),
    )


def call(tool: str, **arguments: object) -> Action:
    return Action(
        Message("assistant", f"{tool} {arguments}", (1, 2)), tool, (True, True), None, ToolCall(tool, arguments)
    )


def answer(text: str, stop: StopReason | None = None) -> Action:
    return Action(Message("assistant", text, (3,)), ANSWER, (True,), None, stop=stop)


def two_hop(state: State) -> list[tuple[Action, float]]:
    """Looks up the country of a capital, then its area; likes to guess."""
    if not state.calls:
        right, vague = call("search", query="capital N'Djamena"), call("search", query="the wordy question itself")
        return [(answer("About 7."), 0.6), (vague, 0.25), (right, 0.15)]
    read = state.calls[-1][1].content
    if "area of" in read:
        return [
            (answer(f"It is {re.findall(r'[0-9]+', read)[0]} km2."), 0.9),
            (answer("It is", StopReason.TRUNCATED), 0.1),
        ]
    country = "Chad" if "Chad" in read else "Mali"
    return [(call("search", query=f"area {country}"), 0.9), (call("nothing", query="x"), 0.1)]


def puzzle(state: State) -> list[tuple[Action, float]]:
    """Multiplies with the interpreter, or goes wrong."""
    if not state.calls:
        return [
            (call("python", code="12 +"), 0.5),
            (call("python", code="12 * 34"), 0.3),
            (call("python", code="1/0"), 0.2),
        ]
    return [(answer(state.calls[-1][1].content or "nothing"), 1.0)]


def propose(requests: Sequence[ProposalRequest]) -> list[list[Proposal]]:
    scripts = {"two_hop": two_hop, "puzzle": puzzle}
    asked = [(request.state, scripts[request.state.problem.family]) for request in requests]
    return [[Proposal(*pair, context_tokens=20) for pair in script(state)] for state, script in asked]


def test_search_solves_what_greedy_does_not_and_its_paths_replay(toolbox: Toolbox) -> None:
    problems = [problem("hop", "two_hop", "1284000", calls=3), problem("product", "puzzle", "408", calls=2)]
    prices = PriceSheet()
    verbs = Verbs(propose, uninformed, check, partial(step_many, toolbox=toolbox), prices.units)
    trees = search(problems, verbs, in_advance(simulations=16))
    found = [cheapest_correct(tree, policy_id="search:x", seed=0, units=prices.units) for tree in trees]
    for one, problem_, units in zip(found, problems, (2.0, 0.3), strict=True):
        assert one is not None
        assert prices.units(one.outcome.cost) == pytest.approx(units)
        assert replay(one, problem_) == one
        assert one.outcome.stop_reason is StopReason.ANSWERED


def test_failing_tools_and_broken_turns_are_nodes_like_any_other(toolbox: Toolbox) -> None:
    problems = [problem("hop", "two_hop", "1284000", calls=3), problem("product", "puzzle", "408", calls=2)]
    prices = PriceSheet()
    verbs = Verbs(propose, uninformed, check, partial(step_many, toolbox=toolbox), prices.units)
    trees = search(problems, verbs, in_advance(simulations=30))
    made_by = Provenance("m", "d")
    chosen = in_advance()
    rows = [
        row
        for tree in trees
        for row in tree_rows(tree, greedy_success=False, provenance=made_by, units=prices.units, settings=chosen)
    ]
    assert {row.tool_error for row in rows if row.arguments and "1/0" in row.arguments} == {True}
    broken = [row for row in rows if row.decision == "nothing" or row.text == "It is"]
    assert broken
    assert all(row.terminal and row.success is False for row in broken if row.visits)


def test_a_call_beyond_the_budget_ends_the_branch_as_a_failure(toolbox: Toolbox) -> None:
    prices = PriceSheet()
    verbs = Verbs(propose, uninformed, check, partial(step_many, toolbox=toolbox), prices.units)
    tree = search([problem("hop", "two_hop", "1284000", calls=1)], verbs, in_advance(simulations=16))[0]
    assert not tree.root.expandable
    assert cheapest_correct(tree, policy_id="search:x", seed=0, units=prices.units) is None


def nested_hop(state: State) -> list[tuple[Action, float]]:
    """Splits the problem, asks inside itself for the country, searches the area, answers each sub-task, then all."""
    if not state.calls:
        return [(call("split", tasks=["country", "area"]), 0.5), (answer("About 7."), 0.5)]
    if not state.stack:
        gathered = re.findall(r"area: ([0-9]+)", state.messages[-1].content)
        return [(answer(f"It is {gathered[0]} km2." if gathered else "I gave up."), 1.0)]
    if not state.stack[-1].results:
        asked = call("delegate", question="Whose capital is N'Djamena?"), 0.6
        return [asked, (call("give_up", reason="?"), 0.4)] if len(state.calls) == 1 else [(answer("Chad"), 1.0)]
    read = state.calls[-1][1].content
    if "area of" in read:
        return [(answer(re.findall(r"[0-9]+", read)[0]), 1.0)]
    return [(call("search", query="area Chad"), 1.0)]


def test_subtasks_and_nested_calls_are_turns_of_the_search_like_any_other(toolbox: Toolbox) -> None:
    hop = replace(
        problem("hop", "two_hop", "1284000", calls=6),
        tool_names=("search", "python", "delegate", "split", "give_up"),
    )
    nested = ScriptedPolicy([render_call(ToolCall("search", {"query": "capital N'Djamena"})), "Chad"])

    def propose_nested(requests: Sequence[ProposalRequest]) -> list[list[Proposal]]:
        return [[Proposal(*pair, context_tokens=20) for pair in nested_hop(one.state)] for one in requests]

    def delegate(problems: Sequence[Problem]) -> list[Trajectory]:
        return [play(inner, nested, toolbox) for inner in problems]

    prices = PriceSheet()
    stepping = partial(step_many, toolbox=toolbox, delegate=delegate)
    deep = in_advance(simulations=30, max_depth=8)
    (tree,) = search([hop], Verbs(propose_nested, uninformed, check, stepping, prices.units), deep)
    found = cheapest_correct(tree, policy_id="search:x", seed=0, units=prices.units)
    assert found is not None
    assert replay(found, hop) == found
    assert prices.units(found.outcome.cost) == pytest.approx(0.125 + 0.3 + 1.0 + 1.0)
    assert all(r.wall_seconds is None for t in every_transition(found) for r in t.results), "the same in every run"
    assert len([t for t in every_transition(found) if t.nested]) == 1
