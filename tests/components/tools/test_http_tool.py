"""A tool behind HTTP, against a real and a hostile server on loopback."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
from doubles import cut_words
from local_server import served
from pydantic import ValidationError

from components.schema.message import ToolCall
from components.tools.guard import guard_for
from components.tools.guarded_http import GuardedClient
from components.tools.http_tool import HttpTool
from components.tools.own_settings import HttpToolSettings
from components.tools.prices import PriceSettings, PriceSheet, ToolPrice
from components.tools.spec import ToolOutput
from components.tools.toolbox import Toolbox

SECRET = "s3cret-of-the-weather"
FUNCTION = {
    "name": "weather",
    "description": "Gives the weather.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "tags": {"type": "array"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
BEHAVIOURS: Mapping[str, tuple[int, str, bytes]] = {
    "broken": (200, "application/json", b'{"now": '),
    "binary": (200, "application/json", b"\xff\xfe"),
    "deep": (200, "application/json", b"[" * 100_000),
    "number": (200, "application/json", b'{"now": {"text": ' + b"9" * 5000 + b"}}"),
    "elsewhere": (200, "application/json", b'{"later": 1}'),
    "page": (200, "text/html", b"<html>"),
    "huge": (200, "application/json", b'"' + b"x" * 5000 + b'"'),
    "missing": (404, "application/json", b"{}"),
    "failing": (500, "text/plain", b"Traceback: in /srv/app.py"),
}
EXPECTED = {
    "broken": "it is not JSON",
    "binary": "it is not UTF-8",
    "deep": "larger than",
    "number": "larger than",
    "elsewhere": "an answer without now.text",
    "page": "it is not application/json or text/plain",
    "huge": "larger than 2000 bytes",
    "missing": "answered HTTP 404",
    "failing": "answered HTTP 500",
    "moved": "it is a redirect",
    "bomb": "it is compressed",
    "endless": "larger than 2000 bytes",
    "silent": "TimeoutError: weather gave no answer within 0.4 s",
    "drip-head": "TimeoutError: weather gave no answer within 0.4 s",
    "drip-body": "TimeoutError: weather gave no answer within 0.4 s",
    "hang-up": "cannot be reached",
    "nonsense": "cannot be reached",
}


class Service(BaseHTTPRequestHandler):
    """Behaves as the city asks, and remembers what it was sent."""

    release = threading.Event()
    seen: list[tuple[str, Any, dict[str, str]]] = []  # noqa: RUF012 - one server a module

    def do_GET(self) -> None:
        query = parse_qs(urlparse(self.path).query)
        self._act(query["city"][0], query)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._act(body["city"], body)

    def _act(self, city: str, given: Any) -> None:
        self.seen.append((self.command, given, {name.lower(): value for name, value in self.headers.items()}))
        try:
            self._behave(city)
        except OSError:  # the client had enough
            self.close_connection = True

    def _behave(self, city: str) -> None:
        if city in BEHAVIOURS:
            self._answer(*BEHAVIOURS[city])
        elif city == "moved":
            self._answer(302, "text/plain", b"", Location="http://127.0.0.1:1/admin")
        elif city == "bomb":
            self._answer(200, "application/json", gzip.compress(b"0" * 10_000_000), **{"Content-Encoding": "gzip"})
        elif city == "echo":
            self._answer(200, "text/plain", f"you sent {self.headers['Authorization']}".encode())
        elif city in ("silent", "hang-up"):
            self._wait(city)
        elif city == "nonsense":
            self.wfile.write(b"220 mail.example ESMTP\r\n" * 3)
            self.close_connection = True
        elif city in ("drip-head", "drip-body", "endless"):
            self._stream(city)
        else:
            self._answer(200, "application/json; charset=utf-8", json.dumps({"now": {"text": f"{city}: dry"}}).encode())

    def _wait(self, city: str) -> None:
        if city == "silent":
            self.release.wait(5)
        self.close_connection = True

    def _stream(self, city: str) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        self.wfile.write(head + (b"X-Slow: " if city == "drip-head" else b"\r\n"))
        while not self.release.is_set():
            self.wfile.write(b"x")
            self.release.wait(0.0 if city == "endless" else 0.03)

    def _answer(self, status: int, kind: str, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(Service, release=Service.release) as here:
        yield f"{here}/v1"


def make(address: str, *, private: bool = True, **fields: Any) -> HttpTool:
    settings = HttpToolSettings.model_validate(
        {
            "function": FUNCTION,
            "url": address,
            "headers": {"Authorization": "Bearer ${WEATHER_KEY}", "Accept": "application/json"},
            "result": "now.text",
            "max_bytes": 2000,
            **fields,
        }
    )
    guard = guard_for(settings.url, ["127.0.0.1"] if private else [])
    client = GuardedClient(guard, clock=time.monotonic, timeout=0.4, most_bytes=settings.max_bytes)
    return HttpTool(settings, client, secrets={"WEATHER_KEY": SECRET}, cut=cut_words, result_tokens=8)


def test_arguments_go_as_a_json_body_and_the_named_part_comes_back(address: str) -> None:
    output = make(address).call({"city": "Lyon", "days": 2})
    assert output == ToolOutput("Lyon: dry", is_error=False)
    command, given, headers = Service.seen[-1]
    assert (command, given) == ("POST", {"city": "Lyon", "days": 2})
    assert headers["authorization"] == f"Bearer {SECRET}"
    assert headers["accept-encoding"] == "identity"


def test_arguments_go_as_query_parameters_and_cannot_change_the_address(address: str) -> None:
    hostile = "Lyon&days=9#x/../../admin?y=\r\nHost: evil.example"
    output = make(address, method="GET").call({"city": hostile, "days": 2, "tags": ["a", {"b": 1}]})
    assert not output.is_error
    command, given, headers = Service.seen[-1]
    assert (command, given) == ("GET", {"city": [hostile], "days": ["2"], "tags": ["a", '{"b": 1}']})
    assert "evil" not in headers["host"]


@pytest.mark.parametrize("city", EXPECTED)
def test_every_failure_is_a_result_that_can_be_read(address: str, city: str) -> None:
    output = make(address).call({"city": city})
    assert output.is_error
    assert not output.cacheable
    assert not output.refused
    assert EXPECTED[city] in output.content or EXPECTED[city].startswith(output.content[:-1])
    assert not any(word in output.content for word in (SECRET, "127.0.0.1", "Traceback", "WEATHER_KEY"))


def test_a_secret_that_comes_back_is_hidden(address: str) -> None:
    assert make(address, result=None).call({"city": "echo"}).content == "you sent Bearer [secret]"


def test_results_are_cut_to_their_budget(address: str) -> None:
    words = " ".join(f"w{place}" for place in range(50))
    assert len(make(address).call({"city": words}).content.split(" ")) == 8


def test_a_host_that_was_not_named_as_private_is_not_asked(address: str) -> None:
    before = len(Service.seen)
    output = make(address, private=False).call({"city": "Lyon"})
    assert output.content == "Error: weather may not be reached: its address is not public."
    assert output.refused
    assert len(Service.seen) == before


def test_it_is_a_tool_of_the_toolbox_with_memory_and_prices(address: str) -> None:
    prices = PriceSheet(PriceSettings(tools={"weather": ToolPrice(money=1.0, seconds=2.0)}))
    box = Toolbox([make(address)], prices, time.monotonic)
    call = ToolCall("weather", {"city": "Nice"})
    before = len(Service.seen)
    results = [box.submit(call).result(5), *box.call_many([call, ToolCall("weather", {"city": 3})])]
    assert [result.is_error for result in results] == [False, False, True]
    assert [result.cost.money for result in results] == [1.0, 1.0, 1.0]
    assert len(Service.seen) == before + 1
    box.close()


def test_the_version_holds_the_settings_and_no_secret(address: str) -> None:
    assert make(address).version != make(address, version="2").version
    assert SECRET not in repr(make(address)._settings)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"headers": {"Authorization": "Bearer abc"}}, "must name an environment variable"),
        ({"headers": {"X-Api-Key": "abc"}}, "must name an environment variable"),
        ({"headers": {"Cookie": "a=b"}}, "must name an environment variable"),
        ({"headers": {"Host": "evil.example"}}, "no header that can be set"),
        ({"headers": {"X A": "b"}}, "no header that can be set"),
        ({"headers": {"X-A": "b\r\nHost: evil"}}, "one line of ASCII"),
        ({"url": "file:///etc/passwd"}, "must start with http"),
        ({"url": "http://user:pass@host.example"}, "user name"),
        ({"url": "http://host.example/?api_key=abc"}, "must not hold the secret 'api_key'"),
        ({"method": "DELETE"}, "'GET' or 'POST'"),
        ({"result": "a b"}, "must be a path"),
        ({"colour": 1}, "Extra inputs"),
        ({"function": {**FUNCTION, "name": "my tool"}}, "should match pattern"),
        ({"function": {**FUNCTION, "parameters": {"type": "array"}}}, "must have type: object"),
        ({"function": {**FUNCTION, "parameters": {"type": "object", "properties": {"a": {"type": "x"}}}}}, "not valid"),
        (
            {"function": {**FUNCTION, "parameters": {"type": "object", "$ref": "http://169.254.169.254/x"}}},
            "points outside itself",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        HttpToolSettings.model_validate({"function": FUNCTION, "url": "https://api.example/", **fields})
