"""The tools that people bring, opened. Takes their settings; gives tools for a toolbox, or `BadTool` in words.

Order: functions, HTTP services, MCP servers, each as listed. What was opened before a fault is closed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from components.tools.function_loading import load_function
from components.tools.function_tool import BadTool, FunctionTool
from components.tools.guard import guard_for
from components.tools.guarded_http import GuardedClient
from components.tools.http_tool import HttpTool
from components.tools.own_settings import HttpToolSettings, McpServerSettings
from components.tools.secrets import fill_in, variables_in
from components.tools.settings import ToolSettings
from components.tools.spec import Cut, Tool
from components.tools.toolbox import DEFAULT_TIMEOUT

SHARE_OF_TIMEOUT = 0.9
"""A tool's own time limit, as a share of the toolbox's: its own message is the one that is read."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What own tools need of the place where they run."""

    folder: Path
    """The project's folder `own`, from which functions are taken."""
    secrets: Mapping[str, str]
    """Values of the environment variables that the settings name."""


def open_own_tools(
    settings: ToolSettings, surroundings: Surroundings, *, cut: Cut, clock: Callable[[], float]
) -> tuple[Tool, ...]:
    """Every tool of `settings.own`.

    Raises:
        BadTool: one cannot be opened.
    """
    _refuse_missing_secrets(settings, surroundings.secrets)
    opening = _Opening(settings, surroundings, cut, clock)
    with ExitStack() as opened:
        tools: list[Tool] = []
        for some in (opening.functions(), opening.services(), opening.servers(opened)):
            for tool in some:
                close = getattr(tool, "close", None)
                if close is not None:
                    opened.callback(close)
                tools.append(tool)
        opened.pop_all()
        return tuple(tools)


def _refuse_missing_secrets(settings: ToolSettings, secrets: Mapping[str, str]) -> None:
    for name in settings.own.variables():
        if not secrets.get(name):
            raise BadTool(f"tools.own names the environment variable {name}, which is not set")


@dataclass(frozen=True, slots=True)
class _Opening:
    settings: ToolSettings
    around: Surroundings
    cut: Cut
    clock: Callable[[], float]

    def seconds(self, name: str) -> float:
        """The time limit that a tool sets itself."""
        return SHARE_OF_TIMEOUT * self.settings.timeouts.get(name, DEFAULT_TIMEOUT)

    def functions(self) -> Iterator[Tool]:
        own = self.settings.own
        for name in own.functions:
            function = load_function(name, folder=self.around.folder, packages=own.packages)
            yield FunctionTool(function, cut=self.cut, result_tokens=own.result_tokens, seconds=self.seconds)

    def services(self) -> Iterator[Tool]:
        for service in self.settings.own.http:
            yield self._service(service)

    def _service(self, service: HttpToolSettings) -> Tool:
        client = GuardedClient(
            guard_for(service.url, self.settings.private_hosts),
            clock=self.clock,
            timeout=self.seconds(service.function.name),
            most_bytes=service.max_bytes,
        )
        return HttpTool(
            service,
            client,
            secrets=self.around.secrets,
            cut=self.cut,
            result_tokens=self.settings.own.result_tokens,
        )

    def servers(self, opened: ExitStack) -> Iterator[Tool]:
        for name, server in self.settings.own.mcp.items():
            yield from self._server(name, server, opened)

    def _server(self, name: str, server: McpServerSettings, opened: ExitStack) -> Sequence[Tool]:
        # the SDK takes seconds to import, and few projects name a server
        from components.tools.mcp_connection import McpConnection
        from components.tools.mcp_tool import tools_of

        texts = server.secrets()
        connection = McpConnection(
            server,
            texts=fill_in(texts, self.around.secrets),
            guard=None if server.url is None else guard_for(server.url, self.settings.private_hosts),
            timeout=self.seconds(name),
        )
        opened.callback(connection.close)
        return tools_of(
            name,
            server,
            connection,
            secrets=[self.around.secrets[variable] for variable in variables_in(texts.values())],
            cut=self.cut,
            result_tokens=self.settings.own.result_tokens,
            seconds=self.seconds,
        )
