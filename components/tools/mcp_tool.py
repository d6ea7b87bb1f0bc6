"""The tools of an MCP server in a toolbox. Takes a connection and settings; gives tools with outputs a policy can read.

Names are made such that calls can name them: signs that no name may hold become `_`, and `rename` in the settings has
the last word. A tool's result is its text parts, or its structured content, cut to a budget. Opens no connection
itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mcp_types import CallToolResult, TextContent
from mcp_types import Tool as ServerTool

from components.schema.identity import stable_hash
from components.schema.tool import ToolSpec
from components.tools.function_tool import BadTool
from components.tools.mcp_connection import McpConnection, McpFault
from components.tools.own_schema import fault_of_schema
from components.tools.own_settings import McpServerSettings
from components.tools.secrets import hide
from components.tools.spec import Cut, ToolOutput

NO_OUTPUT = "(no output)"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")


class McpTool:
    """One tool of a server."""

    def __init__(
        self,
        offered: ServerTool,
        connection: McpConnection,
        spec: ToolSpec,
        *,
        version: str,
        secrets: Sequence[str],
        cut: Cut,
        result_tokens: int,
        timeout: float,
    ) -> None:
        """`secrets`: values that were given to the server and must not come back."""
        self._offered, self._connection, self.spec, self.version = offered, connection, spec, version
        self._secrets, self._cut, self._result_tokens = tuple(secrets), cut, result_tokens
        self._timeout = timeout

    def call(self, arguments: Mapping[str, Any]) -> ToolOutput:
        """The server's result, or why there is none."""
        hints = self._offered.annotations
        again = hints is not None and bool(hints.read_only_hint or hints.idempotent_hint)
        try:
            result = self._connection.call(self._offered.name, arguments, again=again, timeout=self._timeout)
        except McpFault as fault:
            told = self._cut(str(fault), self._result_tokens)
            return ToolOutput(told, is_error=True, cacheable=False, refused=fault.refused)
        text = self._cut(hide(_text(result), self._secrets), self._result_tokens)
        return ToolOutput(text, is_error=bool(result.is_error), cacheable=not result.is_error)

    def close(self) -> None:
        """Closes the connection, which the server's other tools share."""
        self._connection.close()


def tools_of(
    server: str,
    settings: McpServerSettings,
    connection: McpConnection,
    *,
    secrets: Sequence[str],
    cut: Cut,
    result_tokens: int,
    seconds: Callable[[str], float],
) -> tuple[McpTool, ...]:
    """The tools that the settings ask for, in the server's order; BadTool names what is wrong."""
    try:
        offered = connection.tools()
    except McpFault as fault:
        raise BadTool(f"tools.own.mcp.{server}: {fault}") from fault.__cause__
    wanted = [tool for tool in offered if settings.only is None or tool.name in settings.only]
    _refuse_missing(server, settings, [tool.name for tool in offered])
    specs = [_spec(server, settings, tool) for tool in wanted]
    return tuple(
        McpTool(
            tool,
            connection,
            spec,
            version=stable_hash(["mcp", settings.model_dump(mode="json"), tool.model_dump(mode="json"), result_tokens]),
            secrets=secrets,
            cut=cut,
            result_tokens=result_tokens,
            timeout=seconds(spec.name),
        )
        for tool, spec in zip(wanted, specs, strict=True)
    )


def _refuse_missing(server: str, settings: McpServerSettings, offered: Sequence[str]) -> None:
    for name in (*(settings.only or ()), *settings.rename):
        if name not in offered:
            raise BadTool(f"tools.own.mcp.{server}: the server has no tool {name!r:.80}; it has {', '.join(offered)}")


def _spec(server: str, settings: McpServerSettings, tool: ServerTool) -> ToolSpec:
    parameters = {"properties": {}, **_closed(tool.input_schema)}
    fault = fault_of_schema(parameters)
    if fault is not None:
        raise BadTool(f"tools.own.mcp.{server}: {tool.name!r:.80}: {fault}")
    name = settings.rename.get(tool.name) or safe_name(tool.name)
    return ToolSpec(name, " ".join((tool.description or tool.name).split()), parameters)


def _closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A plain schema that leaves further arguments open, closed: a policy should not write what nobody reads."""
    plain = set(schema) <= {"type", "properties", "required", "title", "description", "$defs", "$schema"}
    return {**schema, "additionalProperties": False} if plain else dict(schema)


def safe_name(name: str) -> str:
    """The name as a call can write it."""
    safe = _NOT_IN_NAMES.sub("_", name)
    return (safe if safe[:1].isalpha() else f"t_{safe}")[:64]


def _text(result: CallToolResult) -> str:
    """What a policy can read of a result; other parts are named."""
    parts = [part.text if isinstance(part, TextContent) else f"[{part.type}]" for part in result.content]
    if not parts and result.structured_content is not None:
        return json.dumps(_plain(result.structured_content), ensure_ascii=False)
    return "\n".join(parts).strip() or NO_OUTPUT


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
