"""Rows that were refused, with the place and the reason, for people and for files.

Takes and gives `Reject`. Does not decide what is refused: see `components.records.annotations` and curation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.records.jsonl import write_records

SHOWN = 200
"""Characters of a refused row that are kept."""


@dataclass(frozen=True, slots=True)
class Reject:
    """One refused row."""

    file: str
    line: int
    """Counted from 1."""
    field: str
    """Dotted path of the field, e.g. `steps[0].arguments.query`; empty when the whole line is meant."""
    reason: str
    """What is wrong, and what to do about it after `Fix: `."""
    text: str
    """The beginning of the row as it was."""


def write_quarantine(path: Path | str, rejects: Iterable[Reject]) -> None:
    """Put the refused rows at `path` as JSON Lines."""
    write_records(path, rejects)


def format_rejects(rejects: Sequence[Reject]) -> list[str]:
    """One line a refused row, in the order of files and lines, as a terminal or an editor shows places."""
    ordered = sorted(rejects, key=lambda reject: (reject.file, reject.line, reject.field))
    return [_format(reject) for reject in ordered]


def _format(reject: Reject) -> str:
    place = f"{reject.file}:{reject.line}"
    return f"{place} {reject.field}: {reject.reason}" if reject.field else f"{place}: {reject.reason}"
