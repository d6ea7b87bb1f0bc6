"""What a server answered: one line a response in `responses-YYYY-MM-DD.jsonl`, so that an id leads to its version.

Takes records; gives them back by id. Texts are in a record only where their logging was switched on. A new day begins
a new file, so that old ones can be removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components.records.append import append_line, read_lines
from components.records.codec import BadField, from_json, to_json

Channel = Literal["champion", "canary", "challenger", "version", "shadow"]
"""By which way a request came to its version."""


@dataclass(frozen=True, slots=True)
class ServedResponse:
    """One answer, or why there was none."""

    response_id: str
    at: str
    """UTC, ISO 8601: when the request came."""
    model: str
    """Name that was asked for."""
    version: str
    digest: str
    """Of the version's payload."""
    channel: Channel
    finish: str
    """stop, length, tool_calls, no_answer, timeout, cancelled or error."""
    stop_reason: str
    """The trajectory's own; empty when it did not end."""
    decisions: tuple[str, ...]
    """`answer`, or the tool, a turn."""
    calls: int
    """Calls that the server made, nested ones included."""
    tool_seconds: float
    """As the price sheet charges them."""
    money: float
    units: float
    """Cost in units of the price sheet."""
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    """Wall time until the answer was complete."""
    price: float | None = None
    """The price that was asked for."""
    question: str | None = None
    answer: str | None = None


def append_response(folder: Path, response: ServedResponse) -> None:
    """Add a record to the file of its day."""
    append_line(folder / f"responses-{response.at[:10]}.jsonl", to_json(response))


def find_response(folder: Path, response_id: str) -> ServedResponse | None:
    """The record with this id, sought in the newest files first; None when there is none."""
    for file in sorted(folder.glob("responses-*.jsonl"), reverse=True):
        for row in read_lines(file):
            if row.get("response_id") == response_id:
                try:
                    return from_json(ServedResponse, row)
                except BadField:
                    return None
    return None
