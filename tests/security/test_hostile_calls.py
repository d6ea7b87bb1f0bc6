"""Hostile arguments, addresses and turns against real toolbox, guard and grammar: always a result, never a way in."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from doubles import PASSAGES, cut_words
from local_server import served
from pydantic import ValidationError
from security.hostile import rows

from components.schema.message import ToolCall
from components.tools.grammar import parse_turn
from components.tools.guard import Refused, guard_for
from components.tools.open_toolbox import open_toolbox
from components.tools.own_settings import HttpToolSettings
from components.tools.own_tools import Surroundings
from components.tools.prices import PriceSheet
from components.tools.settings import PriceSettings, ToolPrice, ToolSettings
from components.tools.spec import KNOWN_SPECS
from components.tools.toolbox import Toolbox

SECRET = "s3cret-of-the-weather"
FUNCTION = {
    "name": "weather",
    "description": "Gives the weather.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
LONGEST = 5.0
"""Seconds of a call: half of what the toolbox would give it before it gave up."""


class Echo(BaseHTTPRequestHandler):
    """Sends back everything that it was sent, secrets too."""

    heads: list[tuple[str, str, tuple[str, ...]]] = []  # noqa: RUF012 - one server a module

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.heads.append((self.path, str(self.headers["Host"]), tuple(name.lower() for name in self.headers)))
        answer = f"{self.headers['Authorization']} {body}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def box() -> Iterator[Toolbox]:
    release = threading.Event()
    with served(Echo, release=release) as here:
        service = {"function": FUNCTION, "url": f"{here}/v1", "headers": {"Authorization": "Bearer ${WEATHER_KEY}"}}
        settings = ToolSettings.model_validate({"own": {"http": [service]}, "private_hosts": ["127.0.0.1"]})
        prices = PriceSheet(PriceSettings(tools={**PriceSettings().tools, "weather": ToolPrice(money=0, seconds=0)}))
        around = Surroundings(Path(__file__).parent, {"WEATHER_KEY": SECRET})
        opened = open_toolbox(settings, prices, PASSAGES, cut=cut_words, clock=time.monotonic, surroundings=around)
        yield opened
        opened.close()


def test_the_corpus_has_at_least_a_hundred_of_everything_together() -> None:
    assert len(rows("calls.jsonl")) >= 100
    assert len(rows("urls.jsonl")) >= 100
    assert len(rows("turns.jsonl")) >= 50


def test_every_hostile_call_is_a_result_in_time_without_a_secret(box: Toolbox) -> None:
    for row in rows("calls.jsonl"):
        began = time.monotonic()
        result = box.call(ToolCall(row["name"], row["arguments"]))
        assert time.monotonic() - began < LONGEST, row
        assert SECRET not in result.content, row
        json.dumps([result.content], ensure_ascii=False).encode()
        known = row["name"] in ("search", "python", "weather")
        assert known or result.is_error, row


def test_no_argument_changes_where_a_request_goes_or_what_headers_it_has(box: Toolbox) -> None:
    for row in rows("calls.jsonl"):
        if row["name"] == "weather":
            box.call(ToolCall(row["name"], row["arguments"]))
    assert len(Echo.heads) > 10
    assert {path for path, _, _ in Echo.heads} == {"/v1"}
    assert {host.partition(":")[0] for _, host, _ in Echo.heads} == {"127.0.0.1"}
    assert len({names for _, _, names in Echo.heads}) == 1


@pytest.mark.parametrize("place", range(0, len(rows("urls.jsonl")), 20))
def test_no_hostile_address_is_ever_given_to_connect_to(place: int) -> None:
    assert {url: found for url in rows("urls.jsonl")[place : place + 20] if (found := _reached(url))} == {}


def _reached(url: str) -> Sequence[str]:
    """Addresses that a tool of this URL may connect to."""
    try:
        guard = guard_for(HttpToolSettings.model_validate({"function": FUNCTION, "url": url}).url)
        return guard.addresses(url.partition("://")[0], next(iter(guard.hosts)), 80)
    except (ValidationError, Refused, OSError, UnicodeError):
        return ()


def test_hostile_turns_are_answers_errors_or_calls_to_the_tools_on_offer() -> None:
    for text in rows("turns.jsonl"):
        turn = parse_turn(text, KNOWN_SPECS)
        assert sum(part is not None for part in (turn.call, turn.answer, turn.error)) == 1, text
        if turn.call is not None:
            assert turn.call.name in {spec.name for spec in KNOWN_SPECS}, text
            assert set(turn.call.arguments) <= {"query", "code"}, text
