"""The HTTP adapter against a real server on loopback."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
from doubles import cut_words
from local_server import served
from pydantic import ValidationError

from components.tools.guard import guard_for
from components.tools.guarded_http import GuardedClient
from components.tools.searxng import SEARCH_BYTES, SearxngTool
from components.tools.settings import ToolSettings

RESULTS = [
    {"title": "Chad", "content": "Capital:\n  N'Djamena", "url": "http://a.example/1"},
    {"title": "Mali", "content": None, "url": "http://a.example/2"},
    {"title": "Niger", "content": "x", "url": "http://a.example/3"},
]


class Engine(BaseHTTPRequestHandler):
    """Behaves as the query asks."""

    release = threading.Event()

    def do_GET(self) -> None:
        query = parse_qs(urlparse(self.path).query)
        word = query["q"][0]
        assert query["format"] == ["json"]
        if word == "slow":
            self.release.wait(5)
        status = {"fails": 500, "moved": 302}.get(word, 200)
        body = {"broken": b'{"results": [', "list": b"[]", "binary": b"\xff", "none": b'{"results": []}'}.get(word)
        self._answer(status, body if body is not None else json.dumps({"results": RESULTS}).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Location", "file:///etc/passwd")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(Engine, release=Engine.release) as here:
        yield here


def make(address: str, *, private: bool = True) -> SearxngTool:
    guard = guard_for(address, ["127.0.0.1"] if private else [])
    client = GuardedClient(guard, clock=time.monotonic, timeout=0.3, most_bytes=SEARCH_BYTES)
    return SearxngTool(address, client, k=2, cut=cut_words, result_tokens=20)


@pytest.fixture
def tool(address: str) -> Iterator[SearxngTool]:
    made = make(address)
    yield made
    made.close()


def test_a_good_answer_reads_like_the_local_engine(tool: SearxngTool) -> None:
    output = tool.call({"query": "good"})
    assert output.content == "[Chad] Capital: N'Djamena\n[Mali] "
    assert output.source_ids == ("http://a.example/1", "http://a.example/2")
    assert not output.is_error
    assert output.cacheable


def test_no_results_is_no_error(tool: SearxngTool) -> None:
    output = tool.call({"query": "none"})
    assert (output.content, output.is_error) == ("No results.", False)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("fails", "Error: the search engine answered HTTP 500."),
        ("slow", "TimeoutError: the search engine gave no answer within 0.3 s."),
        ("broken", "it is not JSON"),
        ("binary", "it is not JSON"),
        ("list", "it has no list `results`"),
        ("moved", "it is a redirect"),
        (" ", "Error: the query is empty."),
    ],
)
def test_every_failure_is_a_result_that_can_be_read(tool: SearxngTool, query: str, reason: str) -> None:
    output = tool.call({"query": query})
    assert output.is_error
    assert reason in output.content


def test_a_failure_that_may_pass_is_not_remembered(tool: SearxngTool) -> None:
    assert not tool.call({"query": "fails"}).cacheable


def test_a_server_that_is_not_there_is_a_result() -> None:
    assert "cannot be reached (ConnectError)" in make("http://127.0.0.1:9").call({"query": "x"}).content


def test_an_engine_with_a_private_address_must_be_named_as_private(address: str) -> None:
    refused = make(address, private=False).call({"query": "good"})
    assert refused.content == "Error: the search engine may not be reached: its address is not public."
    assert refused.refused


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host", "localhost:8080", ""])
def test_only_http_addresses_are_taken(url: str) -> None:
    with pytest.raises(ValidationError, match="http:// or https://"):
        ToolSettings(searxng_url=url)
