"""Values made of files, made again when one of them changes.

Takes the files and a function; gives its value. A file is taken as changed when its size or time is another, or when it
comes or goes. Safe to ask from many threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")
_State = tuple[tuple[str, int, int], ...]


class Remembered(Generic[T]):
    """Call it for the value."""

    def __init__(self, files: Callable[[], Iterable[Path]], make: Callable[[], T]) -> None:
        self._files = files
        self._make = make
        self._lock = threading.Lock()
        self._known: tuple[_State, T] | None = None

    def __call__(self) -> T:
        """The value for the files as they are."""
        with self._lock:
            state = _state(self._files())
            if self._known is None or self._known[0] != state:
                self._known = (state, self._make())
            return self._known[1]


class RememberedFiles(Generic[T]):
    """Call it with a file for what is made of that file."""

    def __init__(self, make: Callable[[Path], T]) -> None:
        self._make = make
        self._known: dict[Path, Remembered[T]] = {}

    def __call__(self, file: Path) -> T:
        """The value for the file as it is."""
        return self._known.setdefault(file, Remembered(lambda: (file,), lambda: self._make(file)))()


def _state(files: Iterable[Path]) -> _State:
    stats = [(file, file.stat()) for file in files if file.is_file()]
    return tuple((str(file), stat.st_size, stat.st_mtime_ns) for file, stat in stats)
