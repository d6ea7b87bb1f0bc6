"""The composite's calls to itself: `delegate`, `split` and `give_up`, as tools of the one grammar.

Takes settings and problems; gives specs, and problems that offer these calls. What a call does is the environment's
work (`components.environment.stack`, `components.environment.nested`), for it needs the state; no toolbox runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from components.schema.problem import Nesting, Problem
from components.schema.tool import ToolSpec
from components.tools.settings import CompositeSettings
from components.tools.spec import text_tool

DELEGATE, SPLIT, GIVE_UP = "delegate", "split", "give_up"
MOST_TASKS = 8
"""Sub-tasks that a call can name at all; a problem's own limit is its `Nesting.width`."""

DELEGATE_SPEC = text_tool(DELEGATE, "question", "Answers a question by working on it apart, with all tools.")
SPLIT_SPEC = ToolSpec(
    name=SPLIT,
    description="Splits the task into sub-tasks, which are then worked on in their order.",
    parameters={
        "type": "object",
        "properties": {
            "tasks": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MOST_TASKS},
        },
        "required": ["tasks"],
        "additionalProperties": False,
    },
)
GIVE_UP_SPEC = text_tool(GIVE_UP, "reason", "Ends the task at hand without an answer; who asked for it reads why.")
COMPOSITE_SPECS = (DELEGATE_SPEC, SPLIT_SPEC, GIVE_UP_SPEC)
COMPOSITE_NAMES = frozenset(spec.name for spec in COMPOSITE_SPECS)


def composite_specs(names: Sequence[str]) -> tuple[ToolSpec, ...]:
    """The specs of the named ones, in that order."""
    known = {spec.name: spec for spec in COMPOSITE_SPECS}
    return tuple(known[name] for name in names)


def offered(problem: Problem, settings: CompositeSettings) -> Problem:
    """The problem with the settings' calls on offer, under their limits; as it was when they list none."""
    if not settings.tools:
        return problem
    budget = replace(
        problem.budget,
        max_calls=settings.max_calls,
        max_argument_tokens=max(settings.max_argument_tokens, problem.budget.max_argument_tokens),
        max_context_tokens=max(settings.max_context_tokens, problem.budget.max_context_tokens),
        nesting=Nesting(
            depth=settings.depth,
            calls=settings.nested_calls,
            stack=settings.stack,
            width=settings.width,
            dynamic=settings.splitting == "dynamic",
        ),
    )
    names = tuple(name for name in problem.tool_names if name not in COMPOSITE_NAMES)
    return replace(problem, tool_names=(*names, *settings.tools), budget=budget)
