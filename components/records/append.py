"""Lines added to a file by many writers at once. Takes a path and a JSON object; gives nothing back.

A line is written by one call on a file that is open for appending, so lines of several processes never mix, and a
reader sees whole lines but for a last one that is being written, or was cut off by a crash or a full disk: `read_lines`
leaves that one out, and a writer that finds one ends it first. Does not lock or validate.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Add `value` as one line; NaN and infinity raise ValueError."""
    line = f"{json.dumps(value, ensure_ascii=False, allow_nan=False)}\n".encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        # several whole lines a call are as good as one: a cut-off line before ours must not swallow it
        written = os.write(descriptor, line if _ends_well(descriptor) else b"\n" + line)
        if written < len(line):
            raise OSError(f"{path}: only {written} of {len(line)} bytes could be written: is the disk full?")
    finally:
        os.close(descriptor)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole line that is a JSON object, the oldest first; none where there is no file."""
    if not path.is_file():
        return
    with path.open("rb") as stream:
        for raw in stream:
            try:
                value = json.loads(raw) if raw.endswith(b"\n") else None
            except ValueError:
                value = None
            if isinstance(value, dict):
                yield value


def _ends_well(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"
