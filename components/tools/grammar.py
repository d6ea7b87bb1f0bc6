"""The action grammar: how a turn is written and read.

An assistant turn is one call, `<tool_call>{"name": "search", "arguments": {"query": "..."}}</tool_call>`, or an answer
in plain text. Takes turns as text and the specs of the tools on offer; gives parsed turns, and the texts of calls,
prompts and results. Any text parses: what is neither a call nor an answer comes back as an error in words. Does not
know tokens or run calls.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.schema.arguments import check_arguments
from components.schema.message import ToolCall, ToolResult
from components.schema.tool import ToolSpec

CALL_START = "<tool_call>"
CALL_END = "</tool_call>"
CALL_OPENING = f'{CALL_START}{{"name": "'
"""What the openings of all tools share; the tool's name follows."""
ARGUMENTS_OPENING = '", "arguments": '
"""Between the tool's name and its arguments object."""
CALL_CLOSING = f"}}{CALL_END}"
"""After the arguments object."""
_TAGS = (CALL_START, CALL_END, "<tool_response>", "</tool_response>")
_JSON = json.JSONDecoder(parse_constant=lambda name: _refuse_constant(name))


@dataclass(frozen=True, slots=True)
class ParsedTurn:
    """A turn as it was understood; exactly one of the fields is not None."""

    call: ToolCall | None = None
    answer: str | None = None
    """The answer's text without outer white space; may be empty."""
    error: str | None = None
    """Why the turn is neither a call nor an answer."""


def opening(name: str) -> str:
    """The text that decides for the tool: its likelihood is the probability of the decision."""
    return f"{CALL_OPENING}{name}"


def render_arguments(arguments: Any) -> str:
    """The arguments object as it is written in a call."""
    return json.dumps(dict(arguments), ensure_ascii=False, separators=(", ", ": "))


def render_call(call: ToolCall) -> str:
    """The whole turn that makes `call`."""
    return f"{opening(call.name)}{ARGUMENTS_OPENING}{render_arguments(call.arguments)}{CALL_CLOSING}"


def user_turn(problem_prompt: str, specs: Sequence[ToolSpec], price: float | None = None) -> str:
    """The user's turn as the model sees it: the tools on offer, the prompt, and where one is told, the price of a call.

    The price comes last: next to the decision that it is for, and after all that turns under other prices share.
    Without tools there is nothing to be paid for.
    """
    if not specs:
        return problem_prompt
    told = "" if price is None else f"\nPrice of a call: {price:g}."
    return f"Tools: {', '.join(spec.signature() for spec in specs)}.\n{problem_prompt}{told}"


def tool_turn(result: ToolResult | str) -> str:
    """A tool's result (or its text) as the user's turn that the model sees."""
    content = result if isinstance(result, str) else result.content
    return f"<tool_response>\n{content}\n</tool_response>"


def parse_turn(text: str, specs: Sequence[ToolSpec]) -> ParsedTurn:
    """What the turn says: a valid call to one of `specs`, an answer, or an error."""
    stripped = text.strip()
    if not stripped.startswith(CALL_START):
        tag = next((tag for tag in _TAGS if tag in stripped), None)
        if tag is not None:
            return ParsedTurn(error=f"the answer contains {tag}")
        return ParsedTurn(answer=stripped)
    body = stripped[len(CALL_START) :].lstrip()
    try:
        value, end = _JSON.raw_decode(body)
    except json.JSONDecodeError as error:
        return ParsedTurn(error=f"the call is not JSON at column {error.colno}: {error.msg}")
    except (ValueError, RecursionError) as error:  # a huge number, NaN, thousands of brackets
        return ParsedTurn(error=f"the call is not JSON that can be read: {error}")
    rest = body[end:].strip()
    if rest != CALL_END:
        return ParsedTurn(error=f"the call must end with {CALL_END}, it goes on with {rest[:40]!r}")
    return _check_call(value, specs)


def _check_call(value: Any, specs: Sequence[ToolSpec]) -> ParsedTurn:
    if not isinstance(value, dict) or set(value) != {"name", "arguments"}:
        return ParsedTurn(error='the call must be {"name": ..., "arguments": ...} and nothing else')
    name, arguments = value["name"], value["arguments"]
    spec = next((spec for spec in specs if spec.name == name), None)
    if spec is None:
        return ParsedTurn(error=f"there is no tool {name!r:.60}")
    if not isinstance(arguments, dict):
        return ParsedTurn(error="the arguments must be an object")
    complaints = check_arguments(spec, arguments)
    if complaints:
        return ParsedTurn(error=f"{_place(complaints[0].field)}: {complaints[0].reason}")
    return ParsedTurn(call=ToolCall(name=spec.name, arguments=arguments))


def _place(field: str) -> str:
    return f"arguments.{field}" if field else "arguments"


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
