"""A trajectory in lines for a person: calls, results and answers, what is nested in them indented, with costs.

Takes a trajectory with its problem and a price; gives lines. Prints nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from components.environment.replay import Replayed, walk
from components.schema.cost import Cost
from components.schema.problem import Problem
from components.schema.trajectory import Trajectory

Price = Callable[[Cost], float]
INDENT = "  "


def transcript(trajectory: Trajectory, problem: Problem, price: Price) -> list[str]:
    """Every turn but the final answer; sub-tasks stand one step further in than the task that was split, and what
    happened inside a nested call one step further in than the call."""
    return list(_lines(trajectory, problem, price, depth=0))


def summary_line(cost: Cost, price: Price) -> str:
    """A cost in units and in what it is made of."""
    return f"cost    {price(cost):.2f} units ({cost.calls} calls, {cost.seconds:g} s, {cost.money:g} money)"


def _lines(trajectory: Trajectory, problem: Problem, price: Price, *, depth: int) -> Iterator[str]:
    for step in walk(trajectory, problem):
        inside = INDENT * (depth + len(step.before.stack))
        yield from (inside + line for line in _turn(step, price))
        for nested, asked in zip(step.transition.nested, step.nested, strict=True):
            deeper = depth + len(step.before.stack) + 1
            yield from _lines(nested, asked, price, depth=deeper)
            yield from (INDENT * deeper + line for line in _end(nested, price))
        outside = INDENT * (depth + len(step.state.stack))
        shown = [line for result in step.transition.results for line in result.content.splitlines()]
        yield from (f"{outside}result  {line}" for line in shown)


def _turn(step: Replayed, price: Price) -> Iterator[str]:
    """The turn itself; of answers, those to sub-tasks, and those that were written first and left for a call."""
    transition, call = step.transition, step.transition.action.call
    if transition.action.draft is not None:
        yield f"left    {transition.action.draft.content.strip()}"
    if call is not None:
        arguments = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items())
        yield f"call    {call.name}({arguments})  {price(transition.cost):.2f} units"
    elif transition.results:
        yield f"answer  {transition.action.message.content.strip()}"


def _end(nested: Trajectory, price: Price) -> tuple[str, str]:
    outcome = nested.outcome
    return f"answer  {outcome.answer or f'(none: {outcome.stop_reason.value})'}", summary_line(outcome.cost, price)
