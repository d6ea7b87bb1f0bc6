"""Nested calls: `delegate` runs the composite inside itself on a question of its own (DESIGN 1, row 10).

Takes the calling state, and later the nested trajectory; gives the problem to be played, or the limit that forbids it,
and the result that the caller reads. One budget is passed down: a nested call may make at most the calls that its
parent has left, and everything it cost is charged to the parent's call. Plays nothing: rollouts do.
"""

from __future__ import annotations

from dataclasses import replace

from components.schema.arguments import check_arguments
from components.schema.cost import Cost
from components.schema.identity import stable_hash
from components.schema.message import ToolCall, ToolResult
from components.schema.problem import CheckerSpec, Problem, Reference
from components.schema.trajectory import State, StopReason, Trajectory
from components.tools.composite import DELEGATE, DELEGATE_SPEC


def nested_problem(state: State, call: ToolCall, cost: Cost) -> Problem | ToolResult:
    """What the nested call has to solve, with its share of the budget; an error when a limit forbids it.

    Nobody knows the answer beforehand, so its reference is empty and it is not judged. `cost`: the call's own.
    """
    fault = _fault(state, call)
    if fault:
        return _error(fault, cost)
    problem, budget = state.problem, state.problem.budget
    limits, question = budget.nesting, call.arguments["question"]
    return replace(
        problem,
        problem_id=stable_hash([DELEGATE, problem.problem_id, question]),
        prompt=question,
        reference=Reference(text="", answer=""),
        checker=CheckerSpec("phrase"),
        budget=replace(
            budget,
            max_calls=min(limits.calls, state.calls_left - 1),
            nesting=replace(limits, depth=limits.depth - 1),
        ),
        facts={},
    )


def nested_result(nested: Trajectory, cost: Cost) -> ToolResult:
    """What the caller reads: the answer, or why there is none. `cost`: the call's own; the nested one is added."""
    outcome, whole = nested.outcome, cost + nested.outcome.cost
    if outcome.stop_reason is StopReason.ANSWERED and outcome.answer:
        return ToolResult(outcome.answer, is_error=False, cost=whole)
    return _error(_why(nested), whole)


def not_here(cost: Cost) -> ToolResult:
    """The result where nobody can play a nested call."""
    return _error("nested calls are not possible here", cost)


def _fault(state: State, call: ToolCall) -> str:
    complaints = check_arguments(DELEGATE_SPEC, call.arguments)
    if complaints:
        return f"{complaints[0].field} {complaints[0].reason}".strip()
    if not call.arguments["question"].strip():
        return "the question is empty"
    if state.problem.budget.nesting.depth <= 0:
        return "the depth limit of nested calls is reached"
    if state.calls_left <= 1:
        return f"no call is left for it, the limit is {state.problem.budget.max_calls}"
    return ""


def _why(nested: Trajectory) -> str:
    stop = nested.outcome.stop_reason
    call = nested.transitions[-1].action.call if nested.transitions else None
    if stop is StopReason.GAVE_UP and call is not None:
        return f"gave up, {call.arguments.get('reason', 'without a reason')}"
    return f"no answer, {stop.value.replace('_', ' ')}"


def _error(reason: str, cost: Cost) -> ToolResult:
    return ToolResult(f"Error: {DELEGATE}: {reason}.", is_error=True, cost=cost)
