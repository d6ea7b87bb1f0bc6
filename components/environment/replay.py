"""Stored trajectories, stepped again with their recorded results.

Takes a trajectory and its problem; gives the trajectory that the environment makes of the same actions, which must be
equal. Does not call tools, judge answers or compute rewards: results, verdict and rewards are those of the record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from components.environment.step import finish, start, step
from components.schema.message import ToolCall, ToolResult
from components.schema.problem import Problem
from components.schema.trajectory import Trajectory
from components.tools.spec import ToolCaller


class ReplayMismatch(ValueError):  # noqa: N818 - says what happened
    """The replay asks for something that was not recorded."""


class RecordedToolbox:
    """Gives recorded results back, in their order, and refuses any other call."""

    def __init__(self, recorded: Sequence[tuple[ToolCall, ToolResult]]) -> None:
        self._recorded = tuple(recorded)
        self._next = 0

    def call(self, call: ToolCall) -> ToolResult:
        """The recorded result of the next call, which must be this one."""
        if self._next >= len(self._recorded):
            raise ReplayMismatch(f"only {len(self._recorded)} calls were recorded, asked for {call}")
        expected, result = self._recorded[self._next]
        if expected != call:
            raise ReplayMismatch(f"call {self._next} was recorded as {expected}, asked for {call}")
        self._next += 1
        return result

    def call_many(self, calls: Sequence[ToolCall]) -> list[ToolResult]:
        """The recorded results of the next calls."""
        return [self.call(call) for call in calls]


def recorded_toolbox(trajectory: Trajectory) -> RecordedToolbox:
    """A toolbox with the results that the trajectory carries."""
    return RecordedToolbox(
        [
            (transition.action.call, result)
            for transition in trajectory.transitions
            if transition.action.call is not None
            for result in transition.results
        ]
    )


def replay(trajectory: Trajectory, problem: Problem, toolbox: ToolCaller | None = None) -> Trajectory:
    """The trajectory that the recorded actions make; equal to `trajectory` when nothing changed."""
    calls = recorded_toolbox(trajectory) if toolbox is None else toolbox
    state, transitions = start(problem), []
    for recorded in trajectory.transitions:
        state, transition = step(
            state,
            recorded.action,
            calls,
            prompt_tokens=recorded.cost.prompt_tokens,
            completion_tokens=recorded.cost.completion_tokens,
        )
        transitions.append(replace(transition, reward=recorded.reward))
    again = finish(
        state,
        transitions,
        policy_id=trajectory.policy_id,
        seed=trajectory.seed,
        success=trajectory.outcome.success,
        forced=trajectory.forced,
    )
    parts, evidence = trajectory.outcome.reward_parts, trajectory.outcome.evidence
    return replace(again, outcome=replace(again.outcome, reward_parts=parts, evidence=evidence))
