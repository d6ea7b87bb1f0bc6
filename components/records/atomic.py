"""Write files so that a reader sees the old file or the new one, never half of one.

Takes a path and text, lines or a JSON value; gives nothing back. Writes to a temporary file in the same folder, flushes
it to the disk and renames it. When the disk is full the old file stays and `WriteFailed` names the path.
Does not lock: two writers of the same path both succeed and the last one wins.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

Opener = Callable[[int], TextIO]
"""Makes a text stream from a file descriptor; tests pass one whose disk is full."""


class WriteFailed(OSError):  # noqa: N818 - says what happened
    """A file could not be written; the message names it and says what is left on the disk."""


def open_text(descriptor: int) -> TextIO:
    """The stream that real writes go through: UTF-8, newlines as they are."""
    return os.fdopen(descriptor, "w", encoding="utf-8", newline="")


def write_chunks(path: Path | str, chunks: Iterable[str], *, opener: Opener = open_text) -> None:
    """Put the chunks, one after another, at `path`; on any failure the old file stays as it was."""
    target = Path(path)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name[:60]}.", suffix=".tmp", dir=target.parent)
        temporary = Path(name)
        with opener(descriptor) as stream:
            stream.writelines(chunks)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(target)
        temporary = None
        flush_folder(target.parent)
    except OSError as error:
        raise _explain(target, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path | str, text: str, *, opener: Opener = open_text) -> None:
    """Put `text` at `path`."""
    write_chunks(path, (text,), opener=opener)


def write_lines(path: Path | str, lines: Iterable[str], *, opener: Opener = open_text) -> None:
    """Put the lines at `path`, each ended by a newline."""
    write_chunks(path, (f"{line}\n" for line in lines), opener=opener)


def write_json(path: Path | str, value: Any, *, opener: Opener = open_text) -> None:
    """Put `value` at `path` as indented JSON with a final newline; NaN and infinity are errors."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, f"{text}\n", opener=opener)


def flush_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut; some file systems refuse to sync a folder, which is harmless."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explain(target: Path, error: OSError) -> WriteFailed:
    kept = "the old file is unchanged" if target.is_file() else "nothing was written"
    message = f"cannot write {target}: {error.strerror or error}; {kept}"
    return WriteFailed(error.errno, message, str(target))
