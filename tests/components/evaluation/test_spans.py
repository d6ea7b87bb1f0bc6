"""Spans of a trajectory: every tool call with its cost, seconds, cache hit and version; texts bounded."""

from __future__ import annotations

from dataclasses import replace

import evaluation_records as made

from components.evaluation.policies import TRAINED
from components.evaluation.spans import LONGEST_TEXT, Span, trajectory_span
from components.schema.cost import Cost
from components.schema.message import ToolResult
from components.schema.trajectory import Trajectory


def _with_result(trajectory: Trajectory, result: ToolResult) -> Trajectory:
    first, *rest = trajectory.transitions
    return replace(trajectory, transitions=(replace(first, results=(result,)), *rest))


def _span(result: ToolResult) -> Span:
    problem = made.problems(1)[0]
    play = replace(TRAINED[-1], force=("search",))
    (trajectory,) = made.trajectories(play, [problem])
    return trajectory_span(problem, _with_result(trajectory, result), policy="final", start_ns=1000)


def test_every_call_is_a_span_with_what_it_cost_and_who_answered() -> None:
    cost = Cost(calls=1, seconds=0.4, money=0.002)
    span = _span(ToolResult("found", False, cost, ("s1", "s2"), 0.031, cached=True, tool_version="v7"))
    turn, answer = span.children
    (call,) = turn.children
    assert (call.name, call.kind, call.failed) == ("search", "TOOL", False)
    assert call.attributes == {
        "cost.money": 0.002,
        "cost.seconds": 0.4,
        "wall_seconds": 0.031,
        "cache_hit": True,
        "refused": False,
        "tool.version": "v7",
        "sources": "s1, s2",
    }
    assert (call.start_ns, call.end_ns) == (1000, 1000 + 400_000_000)
    assert (span.end_ns, answer.start_ns) == (call.end_ns, call.end_ns)


def test_long_texts_are_cut_and_failures_are_marked() -> None:
    span = _span(ToolResult("x" * 10_000, True, Cost(), refused=True))
    (call,) = span.children[0].children
    assert len(call.outputs["content"]) == LONGEST_TEXT + 4
    assert call.failed
    assert call.attributes["refused"] is True
