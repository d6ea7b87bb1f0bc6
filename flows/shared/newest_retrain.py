"""Which annotations the newest retrain was asked for: one small file, replaced whole.

Takes the project's paths; gives or keeps a `Newest`. Does not decide anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from components.records.jsonl import read_records, write_records
from flows.shared.paths import Paths


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest retrain."""

    data: str
    """DVC's hash of the annotations."""
    rows: int
    attempt: int
    """Counted from 1 for the same data."""
    asked_at: float
    """Seconds since 1970."""
    flow_run_id: str | None
    """None between the wish and the server's answer; the same wish then gets the same run."""
    workspace: str | None = None
    """Where it works; None before it does."""


def read_newest(paths: Paths) -> Newest | None:
    """The record; None when there never was a retrain."""
    if not paths.newest_retrain.is_file():
        return None
    return read_records(paths.newest_retrain, Newest)[0]


def write_newest(paths: Paths, newest: Newest) -> None:
    """Replace the record."""
    write_records(paths.newest_retrain, [newest])
