"""Records as JSON Lines: one record a line, UTF-8, written atomically.

Takes frozen records (see `components.records.codec` for the types allowed); gives them back equal. A bad line raises
`BadRecord` with file, line and field. Does not skip anything: files we wrote ourselves must be whole. For files written
by people see `components.records.annotations`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from components.records.atomic import write_lines
from components.records.codec import BadField, describe, from_json, to_json

T = TypeVar("T")


class BadRecord(ValueError):  # noqa: N818 - the name other houses catch
    """A line of a file is not the record it should be."""

    def __init__(self, file: str, line: int, field: str, reason: str) -> None:
        place = f"{file}:{line} {field}".rstrip()
        super().__init__(f"{place}: {reason}")
        self.file = file
        self.line = line
        """Counted from 1."""
        self.field = field
        """Dotted path; empty when the whole line is meant."""
        self.reason = reason


def dump_line(value: Mapping[str, Any]) -> str:
    """`value` as one line of JSON; NaN and infinity raise ValueError."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def write_records(path: Path | str, records: Iterable[Any]) -> None:
    """Put the records at `path`, one a line, all or nothing."""
    write_lines(path, (dump_line(to_json(record)) for record in records))


def read_records(path: Path | str, cls: type[T]) -> tuple[T, ...]:
    """Every record of the file, in order."""
    return tuple(_decode(cls, row, file=str(path), line=line) for line, row in read_rows(path))


def read_rows(path: Path | str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and JSON object of every line that is not blank."""
    with Path(path).open("rb") as stream:
        for line, raw in enumerate(stream, start=1):
            if raw.strip():
                yield line, _parse(raw, file=str(path), line=line)


def _parse(raw: bytes, *, file: str, line: int) -> dict[str, Any]:
    try:
        value = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadRecord(file, line, "", f"is not valid UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise BadRecord(file, line, "", f"is not valid JSON at column {error.colno}: {error.msg}") from None
    if not isinstance(value, dict):
        raise BadRecord(file, line, "", f"must be an object, is {describe(value)}")
    return value


def _decode(cls: type[T], row: Mapping[str, Any], *, file: str, line: int) -> T:
    try:
        return from_json(cls, row)
    except BadField as error:
        raise BadRecord(file, line, error.field, error.reason) from None
