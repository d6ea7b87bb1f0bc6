"""A typed Python function as a tool.

    @tool
    def convert(amount: float, source: Literal["km", "mi"], target: Literal["km", "mi"] = "km") -> str:
        '''Converts a length.

        Args:
            amount: how much
        '''

Takes the function; gives the JSON schema of its arguments (from the signature and the docstring, by pydantic) and
outputs: text as it is, anything else as JSON. The function gets its arguments with the types it asks for, nested models
included; it may be `async`. What it raises becomes an output with `is_error` that holds the exception's name and first
line, never a stack trace. Does not find or import functions: see `components.tools.function_loading`.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints, overload

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic_core import to_json

from components.schema.identity import stable_hash
from components.schema.tool import ToolSpec
from components.tools.own_schema import fault_of_schema
from components.tools.spec import Cut, ToolOutput

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__qanat_tool__"
_LONGEST_REASON = 200
_ARGUMENT_LINE = re.compile(r"\s+(\w+)(?: \([^)]*\))?:\s+(.+)")


class BadTool(ValueError):  # noqa: N818 - the name that flows catch
    """A tool that cannot be opened; the message names it and what to do."""


@dataclass(frozen=True, slots=True)
class _Mark:
    name: str
    version: str


@overload
def tool(function: F) -> F: ...
@overload
def tool(*, name: str | None = None, version: str = "1") -> Callable[[F], F]: ...
def tool(function: F | None = None, *, name: str | None = None, version: str = "1") -> F | Callable[[F], F]:
    """Marks a function as a tool, under its own name or another.

    `version`: to be changed when the function answers differently though its module's text is the same.
    """

    def mark(marked: F) -> F:
        setattr(marked, _MARK, _Mark(name or marked.__name__, version))
        return marked

    return mark if function is None else mark(function)


class FunctionTool:
    """One marked function."""

    def __init__(
        self, function: Callable[..., Any], *, cut: Cut, result_tokens: int, seconds: Callable[[str], float]
    ) -> None:
        """`seconds`: by the tool's name, the time after which an `async` function is cancelled.

        Raises:
            BadTool: it is not marked, an argument has no type, or its arguments have no JSON schema.
        """
        self._function, self._cut, self._result_tokens = function, cut, result_tokens
        mark = getattr(function, _MARK, None)
        if not isinstance(mark, _Mark):
            raise BadTool(f"{_place(function)} is not a tool: put @tool above it")
        self._timeout = seconds(mark.name)
        self._arguments = _arguments_model(function)
        self.spec = ToolSpec(mark.name, _description(function), _schema(function, self._arguments))
        fault = fault_of_schema(self.spec.parameters)
        if fault is not None:
            raise BadTool(f"{_place(function)}: {fault}")
        self.version = stable_hash(
            ["function", mark.version, dict(self.spec.parameters), _source(function), result_tokens]
        )

    def call(self, arguments: Mapping[str, Any]) -> ToolOutput:
        """What the function returns for the arguments."""
        try:
            given = self._arguments.model_validate(dict(arguments), strict=False)
            result = self._run({name: getattr(given, name) for name in type(given).model_fields})
            text = result if isinstance(result, str) else to_json(result).decode("utf-8")
        except ValidationError as error:
            return self._failure(f"ValueError: {_first_fault(error)}")
        except (Exception, SystemExit) as error:  # noqa: BLE001 - other people's code: whatever it raises is its result
            return self._failure(_reason(error))
        return ToolOutput(self._cut(text, self._result_tokens), is_error=False)

    def _run(self, arguments: Mapping[str, Any]) -> Any:
        if not inspect.iscoroutinefunction(self._function):
            return self._function(**arguments)
        return asyncio.run(asyncio.wait_for(self._function(**arguments), self._timeout))

    def _failure(self, reason: str) -> ToolOutput:
        return ToolOutput(self._cut(reason, self._result_tokens), is_error=True, cacheable=False)


def _arguments_model(function: Callable[..., Any]) -> type[BaseModel]:
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError, SyntaxError) as error:
        raise BadTool(f"{_place(function)}: its types cannot be read: {error}") from None
    told, fields = _argument_lines(function), {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise BadTool(f"{_place(function)}: argument {name} must be one that can be given by name")
        if name not in hints or name.startswith("_"):
            raise BadTool(f"{_place(function)}: argument {name} needs a type, and a name without leading underscore")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[name] = (hints[name], Field(default, description=told.get(name)))
    try:
        made: type[BaseModel] = create_model(  # type: ignore[call-overload]
            function.__name__, __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=False), **fields
        )
    except (PydanticUserError, TypeError, ValueError, NameError) as error:
        raise BadTool(f"{_place(function)}: its types cannot be used: {_line(error)}") from None
    return made


def _schema(function: Callable[..., Any], arguments: type[BaseModel]) -> dict[str, Any]:
    try:
        schema = arguments.model_json_schema()
    except (PydanticUserError, TypeError, ValueError) as error:
        raise BadTool(f"{_place(function)}: its types have no JSON schema: {_line(error)}") from None
    return {"properties": {}, **_without_titles(schema)}


def _without_titles(value: Any, *, names: bool = False) -> Any:
    """The schema without the titles that pydantic makes up; `names`: the keys are names of arguments."""
    if isinstance(value, list):
        return [_without_titles(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _without_titles(inner, names=not names and key in ("properties", "$defs"))
        for key, inner in value.items()
        if names or key != "title"
    }


def _description(function: Callable[..., Any]) -> str:
    """The first paragraph of the docstring, on one line."""
    text = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
    if not text:
        raise BadTool(f"{_place(function)} needs a docstring: its first sentence tells what the tool does")
    return text


def _argument_lines(function: Callable[..., Any]) -> dict[str, str]:
    """What the docstring's section `Args:` says of each argument."""
    _, _, section = (inspect.getdoc(function) or "").partition("\nArgs:\n")
    found = (_ARGUMENT_LINE.fullmatch(line) for line in section.split("\n\n")[0].splitlines())
    return {line[1]: line[2].strip() for line in found if line is not None}


def _source(function: Callable[..., Any]) -> str:
    """The text of the function's whole module, so that a change of a helper is a new version too."""
    module = inspect.getmodule(function)
    return inspect.getsource(module if module is not None else function)


def _place(function: Any) -> str:
    return f"{getattr(function, '__module__', '?')}:{getattr(function, '__name__', function)}"


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}".removeprefix(": ")


def _reason(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "Error: the tool ended itself"
    return f"{type(error).__name__}: {_line(error)}".removesuffix(": ")


def _line(error: BaseException) -> str:
    """The first line of what the exception says."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an exception that cannot be shown is still one of the tool's
        return ""
    return (text.splitlines() or [""])[0][:_LONGEST_REASON]
