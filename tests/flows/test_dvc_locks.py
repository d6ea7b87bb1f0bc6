"""Locks of dead processes: zombies must not block a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from flows.shared.dvc_locks import drop_dead
from flows.shared.paths import Paths


def test_zombies_and_the_gone_lose_their_locks_and_the_living_keep_them(tmp_path: Path) -> None:
    zombie = subprocess.Popen([sys.executable, "-c", "pass"])
    while psutil.Process(zombie.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    here = {"pid": os.getpid(), "cmd": "me"}
    dead = {"pid": zombie.pid, "cmd": "dvc"}
    file = tmp_path / ".dvc" / "tmp" / "rwlock"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"read": {"a": [dead, here], "b": [dead]}, "write": {"c": dead, "d": here}}))
    assert drop_dead(Paths(tmp_path)) == 3
    assert json.loads(file.read_text()) == {"read": {"a": [here]}, "write": {"d": here}}
    zombie.wait()


def test_without_locks_nothing_is_dropped(tmp_path: Path) -> None:
    assert drop_dead(Paths(tmp_path)) == 0
