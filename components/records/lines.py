"""Lines of a file that may be hostile, read in bounded memory.

Takes a path; gives numbered lines as bytes. A line longer than the limit is given as its first bytes, marked, and the
rest is skipped, so that one endless line costs neither memory nor the lines after it. Does not decode or parse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

LINE_LIMIT = 1_000_000
"""Bytes of one line."""


@dataclass(frozen=True, slots=True)
class RawLine:
    """One line without its end."""

    number: int
    """Counted from 1."""
    content: bytes
    """The whole line, or its first bytes when it is too long."""
    is_too_long: bool


def read_lines(path: Path, *, limit: int = LINE_LIMIT) -> Iterator[RawLine]:
    """Every line that is not blank."""
    with path.open("rb") as stream:
        number = 0
        while piece := stream.readline(limit + 1):
            number += 1
            if len(piece.rstrip(b"\r\n")) > limit:
                _skip_rest(stream, piece, limit)
                yield RawLine(number, piece[:limit], is_too_long=True)
            elif piece.strip():
                yield RawLine(number, piece.rstrip(b"\r\n"), is_too_long=False)


def _skip_rest(stream: BinaryIO, piece: bytes, limit: int) -> None:
    while piece and not piece.endswith(b"\n"):
        piece = stream.readline(limit)
