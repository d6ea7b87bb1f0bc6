"""DVC's path locks, cleared of processes that are dead. Takes the project's paths; gives how many entries were dropped.

DVC drops the entries of processes that no longer exist, but takes a zombie (killed, not yet collected by its parent)
for a living one and refuses to run. Call it only while no other run works in the folder.
"""

from __future__ import annotations

import json
from typing import Any

import psutil

from flows.shared.paths import Paths


def drop_dead(paths: Paths) -> int:
    """Rewrite `.dvc/tmp/rwlock` without the entries of processes that are gone or zombies."""
    file = paths.root / ".dvc" / "tmp" / "rwlock"
    try:
        locks: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return 0
    dropped = 0
    for held in locks.values():
        for path, entries in list(held.items()):
            several = entries if isinstance(entries, list) else [entries]
            living = [entry for entry in several if _alive(entry["pid"])]
            dropped += len(several) - len(living)
            if not living:
                del held[path]
            elif isinstance(entries, list):
                held[path] = living
    if dropped:
        aside = file.with_suffix(".new")
        aside.write_text(json.dumps(locks), encoding="utf-8")
        aside.replace(file)
    return dropped


def _alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
