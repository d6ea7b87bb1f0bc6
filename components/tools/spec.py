"""What a tool is: its name, its arguments and what a call gives.

Takes nothing; gives `ToolSpec`, the `Tool` protocol, `ToolOutput`, and the specs of the tools that exist.
Does not run, price or cache anything: see `components.tools.toolbox`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from components.schema.message import ToolCall, ToolResult
from components.schema.tool import ToolSpec

__all__ = [
    "KNOWN_SPECS",
    "PYTHON_SPEC",
    "SEARCH_SPEC",
    "Cut",
    "Tool",
    "ToolCaller",
    "ToolOutput",
    "ToolSpec",
    "by_name",
    "text_tool",
]

Cut = Callable[[str, int], str]
"""Shortens a text to a budget; the budget's unit (tokens, words) is the function's own."""


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """What a tool says; the toolbox adds the cost."""

    content: str
    is_error: bool
    source_ids: tuple[str, ...] = ()
    """Ids of the passages shown, best first (search only)."""
    cacheable: bool = True
    """False for failures that may pass, such as an unreachable server."""
    refused: bool = False
    """True when the call was refused for safety."""


class Tool(Protocol):
    """One tool; a failure is an output with `is_error`, not an exception."""

    @property
    def spec(self) -> ToolSpec: ...

    @property
    def version(self) -> str:
        """Changes whenever the same arguments may give another output."""
        ...

    def call(self, arguments: Mapping[str, Any]) -> ToolOutput:
        """The output for validated arguments; a tool sees its arguments and nothing else."""
        ...


class ToolCaller(Protocol):
    """All that an environment needs of a toolbox; `Toolbox` and the doubles have it."""

    def call_many(self, calls: Sequence[ToolCall]) -> list[ToolResult]:
        """One result a call, in the order of the calls."""
        ...


def text_tool(name: str, argument: str, description: str) -> ToolSpec:
    """The spec of a tool that takes one text argument."""
    parameters = {
        "type": "object",
        "properties": {argument: {"type": "string"}},
        "required": [argument],
        "additionalProperties": False,
    }
    return ToolSpec(name=name, description=description, parameters=parameters)


SEARCH_SPEC = text_tool("search", "query", "Finds passages that match a query.")
PYTHON_SPEC = text_tool("python", "code", "Runs a snippet and gives the value of its last expression.")
KNOWN_SPECS = (SEARCH_SPEC, PYTHON_SPEC)
"""Tools that annotations and problems may name."""


def by_name(specs: Sequence[ToolSpec]) -> dict[str, ToolSpec]:
    """The specs under their names."""
    return {spec.name: spec for spec in specs}
