"""A trajectory as a tree of spans, for pages that show traces: a turn a span, below it a span a tool call.

Takes problems, trajectories and prices; gives `Span`s. Times are recorded seconds laid end to end from a given start
(turns take none), so a trace shows what was charged and not what a clock said; the measured seconds of a call are an
attribute. Knows no tracker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from components.schema.message import ToolCall, ToolResult
from components.schema.problem import Problem
from components.schema.trajectory import ANSWER, Trajectory, Transition

LONGEST_TEXT = 2000
"""Characters of any text in a span."""
NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took time inside something else."""

    name: str
    kind: str
    """AGENT (a trajectory), LLM (a turn) or TOOL (a call)."""
    start_ns: int
    end_ns: int
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    attributes: Mapping[str, Any]
    failed: bool = False
    children: tuple[Span, ...] = ()


def trajectory_span(problem: Problem, trajectory: Trajectory, *, policy: str, start_ns: int) -> Span:
    """The whole trajectory."""
    turns, at = [], start_ns
    for transition in trajectory.transitions:
        turns.append(_turn(transition, at))
        at = turns[-1].end_ns
    outcome = trajectory.outcome
    return Span(
        name=f"{policy}: {problem.family}",
        kind="AGENT",
        start_ns=start_ns,
        end_ns=at,
        inputs={"prompt": _cut(problem.prompt), "reference": _cut(problem.reference.text)},
        outputs={"answer": _cut(outcome.answer), "success": outcome.success},
        attributes={
            "policy": policy,
            "weights": trajectory.policy_id,
            "problem_id": problem.problem_id,
            "slices": ", ".join(problem.slices),
            "stop_reason": outcome.stop_reason.value,
            "cost.calls": outcome.cost.calls,
            "cost.seconds": outcome.cost.seconds,
            "cost.money": outcome.cost.money,
        },
        failed=outcome.success is False,
        children=tuple(turns),
    )


def _turn(transition: Transition, start_ns: int) -> Span:
    action, at, calls = transition.action, start_ns, []
    for result in transition.results:
        calls.append(call_span(action.call or ToolCall(action.decision, {}), result, at))
        at = calls[-1].end_ns
    probabilities = {f"probability.{name}": value for name, value in (action.decision_probs or {}).items()}
    return Span(
        name="answer" if action.decision == ANSWER else f"decide: {action.decision}",
        kind="LLM",
        start_ns=start_ns,
        end_ns=at,
        inputs={},
        outputs={"text": _cut(action.message.content)},
        attributes={
            "decision": action.decision,
            "tokens": action.tokens_written,
            "stop": action.stop.value if action.stop is not None else "",
            **probabilities,
        },
        failed=action.stop is not None,
        children=tuple(calls),
    )


def call_span(
    call: ToolCall, result: ToolResult, start_ns: int, *, keep: Callable[[str], str | None] = lambda text: text
) -> Span:
    """One call of a tool; `keep` gives of a text what may be shown, None for nothing."""
    return Span(
        name=call.name,
        kind="TOOL",
        start_ns=start_ns,
        end_ns=start_ns + round(result.cost.seconds * NANOSECONDS),
        inputs={name: _cut(keep(value)) if isinstance(value, str) else value for name, value in call.arguments.items()},
        outputs={"content": _cut(keep(result.content))},
        attributes={
            "cost.money": result.cost.money,
            "cost.seconds": result.cost.seconds,
            "wall_seconds": result.wall_seconds if result.wall_seconds is not None else "",
            "cache_hit": result.cached,
            "refused": result.refused,
            "tool.version": result.tool_version,
            "sources": ", ".join(result.source_ids),
        },
        failed=result.is_error,
    )


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]} ..."
