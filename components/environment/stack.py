"""The task stack: `split` pushes ordered sub-tasks, an answer or `give_up` pops.

Takes a state, and what was called or answered; gives the reply that the policy reads, and the stack after it. Pure: the
stack is frozen, and the same turns and replies give the same stack. The final answer is that of the problem itself, at
the bottom. All sub-tasks of a plan have to be done (AND), so giving one up drops the rest of its plan and goes back to
the task that was split, which reads why and may split anew: backtracking. A limit that is exceeded is an error reply.
Replies only add to what the policy has read, so nothing is read twice: a sub-task is named when its turn comes, and the
results are gathered when its plan is done. Does not run tools or play nested calls.
"""

from __future__ import annotations

from dataclasses import replace

from components.schema.arguments import check_arguments
from components.schema.cost import Cost
from components.schema.message import ToolCall, ToolResult
from components.schema.trajectory import ANSWER, Action, Plan, State, StopReason
from components.tools.composite import GIVE_UP, GIVE_UP_SPEC, SPLIT, SPLIT_SPEC

Stack = tuple[Plan, ...]


def task_at(state: State, *, up: int = 0) -> str:
    """What is worked on: the problem's prompt or a sub-task; `up` levels further down the stack, who split it."""
    height = len(state.stack) - up
    if height <= 0:
        return state.problem.prompt
    plan = state.stack[height - 1]
    return plan.tasks[len(plan.results)]


def answers_subtask(state: State, action: Action) -> bool:
    """Whether the turn is the answer to a sub-task. One that was cut off counts as far as it goes."""
    ended = action.stop in (None, StopReason.TRUNCATED)
    return bool(state.stack) and action.decision == ANSWER and ended and bool(action.message.content.strip())


# Replies --------------------------------------------------------------------------------------------------------------


def reply_to_split(state: State, call: ToolCall, cost: Cost) -> ToolResult:
    """The first sub-task, or the limit that forbids the split."""
    fault = _fault_of_split(state, call)
    if fault:
        return ToolResult(f"Error: {SPLIT}: {fault}.", is_error=True, cost=cost)
    tasks = [_line(task) for task in call.arguments["tasks"]]
    return ToolResult(_named(tasks, 0), is_error=False, cost=cost)


def reply_to_give_up(state: State, call: ToolCall, cost: Cost) -> ToolResult:
    """Why the sub-task was given up, what was found before, and what is worked on now."""
    complaints = check_arguments(GIVE_UP_SPEC, call.arguments)
    if complaints:
        return ToolResult(f"Error: {GIVE_UP}: {_words(complaints[0].field, complaints[0].reason)}.", True, cost)
    plan = state.stack[-1]
    lines = [*_results(plan), f"Given up: {task_at(state)} ({_line(call.arguments['reason'])})"]
    return ToolResult("\n".join([*lines, f"Now: {task_at(state, up=1)}"]), is_error=False, cost=cost)


def reply_to_answer(state: State, answer: str) -> ToolResult:
    """The next sub-task, or all results of the plan and the task that they were for; free, for nothing was called."""
    plan = state.stack[-1]
    done = replace(plan, results=(*plan.results, _line(answer)))
    if len(done.results) < len(done.tasks):
        return ToolResult(_named(done.tasks, len(done.results)), is_error=False, cost=Cost())
    return ToolResult("\n".join([*_results(done), f"Now: {task_at(state, up=1)}"]), is_error=False, cost=Cost())


def _fault_of_split(state: State, call: ToolCall) -> str:
    """Why the task cannot be split like this; empty when it can."""
    complaints = check_arguments(SPLIT_SPEC, call.arguments)
    if complaints:
        return _words(complaints[0].field, complaints[0].reason)
    limits, tasks = state.problem.budget.nesting, call.arguments["tasks"]
    if not all(_line(task) for task in tasks):
        return "a sub-task is empty"
    if len(tasks) > limits.width:
        return f"{len(tasks)} sub-tasks, the limit is {limits.width}"
    if len(state.stack) >= limits.stack:
        return f"the limit of {limits.stack} splits inside one another is reached"
    if not limits.dynamic and state.calls:
        return "only before any other call"
    return ""


def _words(field: str, reason: str) -> str:
    return f"{field} {reason}".strip()


def _named(tasks: list[str] | tuple[str, ...], index: int) -> str:
    return f"Sub-task {index + 1} of {len(tasks)}: {_line(tasks[index])}"


def _results(plan: Plan) -> list[str]:
    return [f"{task}: {result}" for task, result in zip(plan.tasks, plan.results, strict=False)]


def _line(text: str) -> str:
    return " ".join(text.split())


# The stack after a turn -----------------------------------------------------------------------------------------------


def stack_after(state: State, action: Action, reply: ToolResult | None) -> Stack:
    """The stack once the turn was replied to; as it was when the reply is an error, or there is none."""
    stack = state.stack
    if reply is None or reply.is_error:
        return stack
    if answers_subtask(state, action):
        plan = replace(stack[-1], results=(*stack[-1].results, _line(action.message.content)))
        return stack[:-1] if len(plan.results) == len(plan.tasks) else (*stack[:-1], plan)
    if action.call is not None and action.call.name == SPLIT:
        return (*stack, Plan(tuple(_line(task) for task in action.call.arguments["tasks"])))
    if action.call is not None and action.call.name == GIVE_UP:
        return stack[:-1]
    return stack
