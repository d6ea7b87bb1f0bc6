"""A real MCP server for tests, made with the SDK. Run as a program it speaks over its standard streams."""

from __future__ import annotations

import os
import time

from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations

server = MCPServer("letters", log_level="CRITICAL")


@server.tool()
def shout(text: str, times: int = 1) -> str:
    """Writes a text in capitals."""
    return " ".join([text.upper()] * times)


@server.tool(name="count.letters", annotations=ToolAnnotations(read_only_hint=True))
def count_letters(text: str) -> int:
    """Counts letters."""
    return len(text)


@server.tool()
def fail(reason: str) -> str:
    """Fails."""
    raise RuntimeError(reason)


@server.tool()
def leave(code: int) -> str:
    """Ends the server, as a crash would."""
    os._exit(code)


@server.tool()
def wait(seconds: float) -> str:
    """Answers late."""
    time.sleep(seconds)
    return "done"


@server.tool()
def variable(name: str) -> str:
    """Tells a variable of the server's environment."""
    return f"it is {os.environ.get(name, 'not set')}"


if __name__ == "__main__":
    server.run("stdio")
