"""One connection to an MCP server (official SDK), opened when needed and again after it was lost.

Takes a server's settings; gives its list of tools and the results of calls, or `McpFault`. The connection lives in a
thread of its own, so that many threads can call at once: a process that speaks over its standard streams, or streamable
HTTP to a guarded host. When it is lost the call under way fails and the next one connects anew; only calls that the
server marks as repeatable are sent a second time. Answers no questions of servers (sampling, elicitation, roots).
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from typing import Any, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import INVALID_PARAMS, METHOD_NOT_FOUND, REQUEST_TIMEOUT, CallToolResult
from mcp_types import Tool as ServerTool

from components.tools.guard import Guard
from components.tools.guarded_mcp import guarded_client
from components.tools.own_settings import McpServerSettings

T = TypeVar("T")
MOST_PAGES = 50
"""Pages of a list of tools: a list that never ends is given up."""
_WORDS = {
    INVALID_PARAMS: "Error: the server does not take these arguments.",
    METHOD_NOT_FOUND: "Error: the server does not take this call.",
    REQUEST_TIMEOUT: "TimeoutError: the server gave no answer in time.",
}
"""Errors after which the connection is as good as before."""


class McpFault(Exception):  # noqa: N818 - the server's fault, not ours
    """Why a server gave nothing, in words that a policy may read."""

    def __init__(self, reason: str, *, refused: bool = False) -> None:
        """`refused`: the guard kept the request from a machine that may not be reached."""
        super().__init__(reason)
        self.refused = refused


class McpConnection:
    """One server."""

    def __init__(
        self, settings: McpServerSettings, *, texts: Mapping[str, str], guard: Guard | None, timeout: float
    ) -> None:
        """`texts`: environment or headers, filled in; `guard`: for a url; `timeout`: seconds to connect."""
        self._settings, self._texts, self._guard, self._timeout = settings, texts, guard, timeout
        self._lock = threading.Lock()
        self._thread = ExitStack()
        self._portal: BlockingPortal | None = None
        self._open: tuple[Client, ExitStack] | None = None
        self._refusals = 0

    def tools(self) -> tuple[ServerTool, ...]:
        """What the server offers; McpFault when it cannot be asked."""
        return self._ask(_list_tools, again=True)

    def call(self, name: str, arguments: Mapping[str, Any], *, again: bool, timeout: float) -> CallToolResult:
        """The result of one call within `timeout` seconds; `again`: whether it may be sent twice."""

        async def ask(client: Client) -> CallToolResult:
            return await client.call_tool(name, dict(arguments), read_timeout_seconds=timeout)

        return self._ask(ask, again=again)

    def close(self) -> None:
        """Ends the connection, a process that was started, and the thread."""
        with self._lock:
            self._drop_open()
            self._portal = None
            with suppress(Exception):
                self._thread.close()

    def _ask(self, ask: Callable[[Client], Awaitable[T]], *, again: bool) -> T:
        before = self._refusals
        client, portal = self._connected()
        try:
            return portal.call(ask, client)
        except MCPError as error:
            if error.code in _WORDS:
                raise McpFault(_WORDS[error.code]) from None
            self._drop(client)
            if not again:
                raise self._lost(before) from None
        except Exception:  # noqa: BLE001 - what the SDK's transports raise is not documented
            self._drop(client)
            if not again:
                raise self._lost(before) from None
        return self._ask(ask, again=False)

    def _lost(self, refusals: int) -> McpFault:
        """`refusals`: how many there were before the call."""
        return McpFault("Error: the connection to the server was lost.", refused=self._refusals > refusals)

    def _refused(self) -> None:
        self._refusals += 1

    def _connected(self) -> tuple[Client, BlockingPortal]:
        with self._lock:
            before = self._refusals
            if self._portal is None:
                self._portal = self._thread.enter_context(start_blocking_portal())
            if self._open is None:
                stack = ExitStack()
                try:
                    client = stack.enter_context(self._portal.wrap_async_context_manager(self._connection()))
                except Exception as error:  # as above: the SDK's transports do not say what they raise
                    refused = self._refusals > before
                    raise McpFault("Error: the server cannot be reached.", refused=refused) from error
                self._open = client, stack
            return self._open[0], self._portal

    def _drop(self, client: Client) -> None:
        """Forget a connection that was lost, unless another thread did so already."""
        with self._lock:
            if self._open is not None and self._open[0] is client:
                self._drop_open()

    def _drop_open(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            with suppress(Exception):  # what is left of a lost connection cannot be closed in order
                opened[1].close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Client]:
        async with AsyncExitStack() as stack:
            transport = await self._transport(stack)
            yield await stack.enter_async_context(Client(transport, read_timeout_seconds=self._timeout, cache=None))

    async def _transport(self, stack: AsyncExitStack) -> Any:
        settings = self._settings
        if settings.command is not None:
            return stdio_client(
                StdioServerParameters(command=settings.command, args=list(settings.args), env=dict(self._texts))
            )
        assert settings.url is not None
        assert self._guard is not None, "a server that is reached by HTTP needs a guard"
        client = await stack.enter_async_context(
            guarded_client(self._guard, self._texts, self._timeout, on_refused=self._refused)
        )
        return streamable_http_client(settings.url, http_client=client)


async def _list_tools(client: Client) -> tuple[ServerTool, ...]:
    found: list[ServerTool] = []
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        cursor = page.next_cursor
        if not cursor:
            return tuple(found)
    raise McpFault(f"Error: the server's list of tools has more than {MOST_PAGES} pages.")
