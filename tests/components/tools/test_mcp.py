"""Tools of a real MCP server, over standard streams and over HTTP on loopback."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mcp_servers
import pytest
import uvicorn
from doubles import cut_words
from mcp_types import Tool as ServerTool
from pydantic import ValidationError

from components.schema.message import ToolCall
from components.tools.function_tool import BadTool
from components.tools.guard import guard_for
from components.tools.mcp_connection import McpConnection
from components.tools.mcp_tool import McpTool, safe_name, tools_of
from components.tools.own_settings import McpServerSettings
from components.tools.prices import PriceSheet
from components.tools.toolbox import Toolbox

SCRIPT = str(Path(mcp_servers.__file__).resolve())
SECRET = "s3cret-of-the-letters"
COMMAND = {"command": sys.executable, "args": (SCRIPT,), "env": {"LETTERS_TOKEN": "${MY_TOKEN}"}}
LOST = "Error: the connection to the server was lost."


class HttpServer:
    """The server over HTTP, until it is stopped; then it can be started again at the same port."""

    def __init__(self) -> None:
        self.port = 0
        self.start()

    def start(self) -> None:
        app = mcp_servers.server.streamable_http_app()
        self._server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=self.port, log_level="critical"))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            self._thread.join(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        self._server.force_exit = True
        self._server.should_exit = True
        self._thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"


@pytest.fixture(scope="module")
def http() -> Iterator[HttpServer]:
    server = HttpServer()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def local() -> Iterator[dict[str, McpTool]]:
    """The tools of one process for all tests."""
    connection = McpConnection(server_settings(**COMMAND), texts={"LETTERS_TOKEN": SECRET}, guard=None, timeout=30)
    yield opened(server_settings(**COMMAND), connection)
    connection.close()


def server_settings(**fields: Any) -> McpServerSettings:
    return McpServerSettings.model_validate(fields)


def over_http(server: HttpServer, *private: str, **fields: Any) -> tuple[McpServerSettings, McpConnection]:
    settings = server_settings(url=server.url, **fields)
    guard = guard_for(server.url, private)
    return settings, McpConnection(settings, texts={}, guard=guard, timeout=20)


def opened(settings: McpServerSettings, connection: McpConnection, *, timeout: float = 10.0) -> dict[str, McpTool]:
    tools = tools_of(
        "letters",
        settings,
        connection,
        secrets=[SECRET],
        cut=cut_words,
        result_tokens=12,
        seconds=lambda name: 0.3 if name == "wait" else timeout,
    )
    return {tool.spec.name: tool for tool in tools}


def test_the_servers_tools_are_tools_with_names_that_calls_can_write(local: dict[str, McpTool]) -> None:
    assert list(local) == ["shout", "count_letters", "fail", "leave", "wait", "variable"]
    assert local["shout"].spec.signature() == "shout(text, times)"
    assert local["shout"].spec.description == "Writes a text in capitals."
    assert local["shout"].call({"text": "a b", "times": 2}).content == "A B A B"
    assert local["count_letters"].call({"text": "abc"}).content == "3"


def test_a_failure_of_the_server_is_a_result_without_its_stack(local: dict[str, McpTool]) -> None:
    output = local["fail"].call({"reason": "no ink"})
    assert (output.is_error, output.cacheable) == (True, False)
    assert "Traceback" not in output.content
    assert "mcp_servers.py" not in output.content


def test_a_late_answer_is_given_up_and_the_connection_goes_on(local: dict[str, McpTool]) -> None:
    late = local["wait"].call({"seconds": 1.0})
    assert (late.content, late.is_error) == ("TimeoutError: the server gave no answer in time.", True)
    assert local["shout"].call({"text": "still here"}).content == "STILL HERE"


def test_a_secret_reaches_the_server_by_name_and_does_not_come_back(local: dict[str, McpTool]) -> None:
    assert local["variable"].call({"name": "LETTERS_TOKEN"}).content == "it is [secret]"
    assert local["variable"].call({"name": "QANAT_FLOW_RUN_ID"}).content == "it is not set"


def test_results_are_cut_to_their_budget(local: dict[str, McpTool]) -> None:
    assert len(local["shout"].call({"text": "a", "times": 50}).content.split()) == 12


def test_they_work_in_the_toolbox_from_many_threads(local: dict[str, McpTool]) -> None:
    box = Toolbox([local["shout"], local["count_letters"]], PriceSheet(), time.monotonic, 4)
    calls = [ToolCall("shout", {"text": f"t{place}"}) for place in range(8)]
    futures = [box.submit(call) for call in calls]
    assert [future.result(10).content for future in futures] == [f"T{place}" for place in range(8)]
    wrong = box.call_many([ToolCall("shout", {"text": 3}), ToolCall("shout", {"text": "a", "loud": True})])
    assert [result.is_error for result in wrong] == [True, True]


def test_a_server_that_died_is_started_again_for_the_next_call(local: dict[str, McpTool]) -> None:
    assert local["leave"].call({"code": 3}).content == LOST
    assert local["shout"].call({"text": "again"}).content == "AGAIN"


def test_over_http_a_lost_server_is_connected_to_again(http: HttpServer) -> None:
    settings, connection = over_http(http, "127.0.0.1")
    tools = opened(settings, connection)
    assert tools["shout"].call({"text": "a"}).content == "A"
    http.stop()
    assert tools["shout"].call({"text": "b"}).content == LOST
    assert tools["count_letters"].call({"text": "b"}).content == "Error: the server cannot be reached."
    http.start()
    assert tools["shout"].call({"text": "c"}).content == "C"
    connection.close()


def test_a_call_that_may_be_repeated_survives_a_restart_unseen(http: HttpServer) -> None:
    settings, connection = over_http(http, "127.0.0.1", only=("count.letters",))
    tools = opened(settings, connection)
    http.stop()
    http.start()
    assert tools["count_letters"].call({"text": "abcd"}).content == "4"
    connection.close()


def test_a_server_on_a_private_address_must_be_named_as_private(http: HttpServer) -> None:
    settings, connection = over_http(http)
    with pytest.raises(BadTool, match=r"tools\.own\.mcp\.letters: Error: the server cannot be reached"):
        opened(settings, connection)
    connection.close()


class MovesAway:
    """A server that can be asked for its tools, and whose address may not be reached any more when it is called."""

    def __init__(self, before: McpConnection, after: McpConnection) -> None:
        self.tools, self.call = before.tools, after.call


def test_a_call_to_an_address_that_may_not_be_reached_counts_as_refused_and_a_lost_one_does_not(
    http: HttpServer,
) -> None:
    settings, before = over_http(http, "127.0.0.1")
    _, after = over_http(http)
    tools = opened(settings, MovesAway(before, after))  # type: ignore[arg-type]
    output = tools["shout"].call({"text": "a"})
    assert (output.content, output.is_error, output.refused) == ("Error: the server cannot be reached.", True, True)
    tools = opened(settings, before)
    assert not tools["fail"].call({"reason": "no ink"}).refused
    before.close()
    after.close()


def test_tools_are_chosen_and_renamed_in_the_settings(http: HttpServer) -> None:
    settings, connection = over_http(http, "127.0.0.1", only=("shout",), rename={"shout": "capitals"})
    (tool,) = opened(settings, connection).values()
    assert (tool.spec.name, tool.call({"text": "a"}).content) == ("capitals", "A")
    connection.close()


def test_a_tool_that_the_server_does_not_have_is_named(http: HttpServer) -> None:
    settings, connection = over_http(http, "127.0.0.1", only=("whisper",))
    with pytest.raises(BadTool, match=r"the server has no tool 'whisper'; it has shout, count\.letters"):
        opened(settings, connection)
    connection.close()


def test_a_command_that_does_not_exist_is_told() -> None:
    settings = server_settings(command="/no/such/program")
    connection = McpConnection(settings, texts={}, guard=None, timeout=5)
    with pytest.raises(BadTool, match="the server cannot be reached"):
        opened(settings, connection)
    connection.close()


class Offers:
    """A connection to a server that offers one hostile tool."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._tool = ServerTool(name="t", input_schema={"type": "object", **schema})

    def tools(self) -> tuple[ServerTool, ...]:
        return (self._tool,)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://169.254.169.254/latest"},
        {"properties": {"a": {"$ref": "file:///etc/passwd"}}},
        {"properties": {"a": {"type": "nonsense"}}},
    ],
)
def test_a_schema_that_would_be_fetched_or_cannot_be_used_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(BadTool, match="'t': the schema"):
        opened(server_settings(command="x"), Offers(schema))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "safe"), [("a.b/c d", "a_b_c_d"), ("2x", "t_2x"), ('a"}', "a__"), ("x" * 99, "x" * 64)]
)
def test_names_are_made_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "either `command` or `url`"),
        ({"command": "x", "url": "http://a.example"}, "either `command` or `url`"),
        ({"command": "x", "headers": {"A": "b"}}, "`headers` belong to a `url`"),
        ({"url": "http://a.example", "args": ("b",)}, "belong to a `command`"),
        ({"command": "x", "env": {"API_TOKEN": "abc"}}, "must name an environment variable"),
        ({"url": "ftp://a.example"}, "must start with http"),
        ({"command": "x", "args": ("--api-key=abc",)}, "give the secret through `env`"),
        ({"command": "x", "args": ("--token", "abc")}, "give the secret through `env`"),
    ],
)
def test_settings_that_cannot_work_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        server_settings(**fields)
