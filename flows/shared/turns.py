"""One retrain at a time; of those that wait only the newest is kept.

Takes a folder and a ticket (any text of the caller's own); gives whether the caller's turn came. The lock dies with its
owner, so a killed retrain blocks nobody. Does not know what is done in a turn.
"""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from components.records.atomic import write_text
from flows.shared.faults import UserFault

POLL_SECONDS = 0.3


@contextlib.contextmanager
def turn(folder: Path, ticket: str) -> Iterator[bool]:
    """True once nobody else has a turn; False as soon as somebody newer waits as well."""
    waiting = folder / "waiting"
    write_text(waiting, ticket)
    with (folder / "running.lock").open("w") as lock:
        while not _locked(lock):
            if waiting.read_text(encoding="utf-8") != ticket:
                yield False
                return
            time.sleep(POLL_SECONDS)
        # somebody newer may have come between the last look and the lock
        yield waiting.read_text(encoding="utf-8") == ticket


class TurnTaken(UserFault):
    """A retrain is under way."""


@contextlib.contextmanager
def sole_turn(folder: Path) -> Iterator[None]:
    """The turn, at once or not at all: `TurnTaken` while a retrain is under way."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "running.lock").open("w") as lock:
        if not _locked(lock):
            raise TurnTaken("a deployed retrain is under way: wait for it, or cancel it")
        yield


def _locked(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
