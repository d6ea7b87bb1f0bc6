"""The annotations as data that DVC tracks: one version at a time, whoever asks.

Takes the project's paths; gives whether `data/annotations.dvc` changed. Does not check rows.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
from collections.abc import Iterator

from flows.shared import graph
from flows.shared.paths import Paths


def track(paths: Paths) -> bool:
    """Let DVC take over the annotations; True when they were not the ones it knew."""
    file = paths.annotations.with_suffix(".dvc")
    with _one_at_a_time(paths):
        if file.is_file() and not graph.is_changed_data(paths.root, file):
            return False
        before = file.read_bytes() if file.is_file() else b""
        logging.getLogger("dvc").setLevel(logging.WARNING)  # it would advise to commit what git ignores here
        with graph.open_repo(paths.root) as repo:
            repo.add(str(paths.annotations))
        return file.read_bytes() != before


@contextlib.contextmanager
def _one_at_a_time(paths: Paths) -> Iterator[None]:
    """DVC refuses a second writer at once; those who add annotations wait for each other instead."""
    paths.intake.mkdir(parents=True, exist_ok=True)
    with (paths.intake / "track.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
