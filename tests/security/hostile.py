"""The hostile corpus: programs, calls, addresses and turns as data beside this file, and traps that show an escape.

Takes a folder to set the traps in; gives texts with the traps' places filled in, and what was sprung. Runs nothing.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CATEGORIES = tuple(sorted(file.stem for file in (HERE / "programs").glob("*.txt")))
CANARY = "canary-4c1d0f2a"
"""What no program, result or record may ever show."""
VARIABLE = "QANAT_TEST_CANARY"


@dataclass(frozen=True, slots=True)
class Traps:
    """A secret file, a place where nothing may appear, and a server that nobody may reach."""

    file: Path
    marker: Path
    server: socket.socket

    def filled(self, text: str) -> str:
        """`text` with the traps' places."""
        places = {"@FILE@": self.file, "@MARKER@": self.marker, "@ENV@": VARIABLE}
        places["@PORT@"] = self.server.getsockname()[1]
        for name, place in places.items():
            text = text.replace(name, str(place))
        return text

    def sprung(self) -> list[str]:
        """What went wrong so far."""
        found = [] if self.file.read_text() == CANARY else ["the file was changed"]
        found += ["a file was made"] if self.marker.exists() or self.marker.is_symlink() else []
        try:
            self.server.accept()[0].close()
        except BlockingIOError:
            return found
        return [*found, "a server was reached"]


def set_traps(folder: Path) -> Traps:
    """Traps in `folder`; the environment variable is the caller's to set."""
    file = folder / "secret.txt"
    file.write_text(CANARY)
    server = socket.create_server(("127.0.0.1", 0))
    server.setblocking(False)
    return Traps(file, folder / "marker", server)


def programs(category: str) -> list[str]:
    """The hostile programs of one kind."""
    return [text.strip("\n") for text in (HERE / "programs" / f"{category}.txt").read_text().split("\n---\n")]


def rows(name: str) -> list[Any]:
    """The rows of a file of JSON Lines."""
    return [json.loads(line) for line in (HERE / name).read_text().splitlines()]


def children() -> set[int]:
    """Processes that this one started and that live."""
    import psutil

    return {child.pid for child in psutil.Process(os.getpid()).children(recursive=True)}
