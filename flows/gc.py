"""What may be removed, and its removal: old workspaces, and checkpoints of stages that nobody continued.

Takes the project's paths; gives what would go and how large it is. Keeps what a flow run under way, a waiting
approval or an aliased version needs, and the newest few. A removed workspace leaves its `dvc.lock` in the store: with
DVC's cache, which is never touched here, that brings back the data of any registered version.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flows.shared.approvals import waiting
from flows.shared.decisions import lock_digest
from flows.shared.newest_retrain import read_newest
from flows.shared.operations import Retention, load_operations
from flows.shared.paths import Paths
from flows.shared.process import alone
from flows.shared.registry import Registry
from flows.shared.registry_settings import load_registry_settings
from flows.shared.turns import sole_turn
from flows.shared.workspace import remove

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Removable:
    """A folder that nothing needs."""

    folder: Path
    size: int
    """Bytes."""
    what: str


def removable(paths: Paths, *, now: float) -> tuple[Removable, ...]:
    """Everything that may go at `now` (seconds since 1970), while no retrain is under way."""
    retention = load_operations(paths).retention
    return (*_workspaces(paths, retention), *_checkpoints(paths, retention, now))


def collect(paths: Paths, *, apply: bool, say: Callable[[str], None]) -> int:
    """Say what may go, and remove it if `apply`; gives the bytes."""
    with alone(paths.running), sole_turn(paths.retrain_turns):
        found = removable(paths, now=time.time())
        for one in found:
            say(f"{one.size / 1e9:8.2f} GB  {one.what}  {one.folder.relative_to(paths.root)}")
            if apply:
                _remove(paths, one.folder)
    total = sum(one.size for one in found)
    say(f"{total / 1e9:8.2f} GB  {'removed' if apply else 'would be removed by `qanat gc --apply`'}")
    return total


def _workspaces(paths: Paths, retention: Retention) -> list[Removable]:
    """All but the needed and the newest."""
    folders = sorted(_folders(paths.workspaces), key=lambda folder: folder.stat().st_mtime, reverse=True)
    needed = _needed_roots(paths)
    locks = _needed_locks(paths)
    old = [
        folder
        for folder in folders[retention.workspaces :]
        if str(folder) not in needed and lock_digest(Paths(folder)) not in locks
    ]
    return [Removable(folder, _size(folder), "workspace ") for folder in old]


def _needed_roots(paths: Paths) -> set[str]:
    """The newest retrain's, which `promote` works on, and those that a person is to judge."""
    newest = read_newest(paths)
    return {one.root for one in waiting(paths)} | ({str(newest.workspace)} if newest else set())


def _needed_locks(paths: Paths) -> set[str]:
    """States of data behind the versions that an alias points to."""
    settings = load_registry_settings(paths)
    registry = Registry(paths, experiment=settings.experiment, model=settings.model)
    aliases = (settings.aliases.champion, settings.aliases.previous, settings.aliases.challenger)
    found = [version for alias in aliases if (version := registry.alias(alias)) is not None]
    return {version.tags.get("dvc.lock.sha256", "") for version in found}


def _checkpoints(paths: Paths, retention: Retention, now: float) -> list[Removable]:
    """Scratch of stages at the desk that was not touched for long."""
    oldest = now - retention.checkpoint_days * DAY
    stale = [folder for folder in _folders(paths.work(".")) if _touched(folder) < oldest]
    return [Removable(folder, _size(folder), "checkpoint") for folder in stale]


def _remove(paths: Paths, folder: Path) -> None:
    if folder.parent == paths.workspaces:
        _keep_lock(paths, Paths(folder))
        remove(paths, folder)
    else:
        shutil.rmtree(folder)


def _keep_lock(paths: Paths, space: Paths) -> None:
    if space.dvc_lock.is_file():
        paths.locks.mkdir(parents=True, exist_ok=True)
        shutil.copy2(space.dvc_lock, paths.locks / f"{lock_digest(space)}.lock")


def _folders(parent: Path) -> list[Path]:
    return [entry for entry in parent.iterdir() if entry.is_dir()] if parent.is_dir() else []


def _touched(folder: Path) -> float:
    return max(entry.lstat().st_mtime for entry in (folder, *folder.rglob("*")))


def _size(folder: Path) -> int:
    """Bytes below the folder; links are not followed."""
    return sum(os.lstat(os.path.join(where, name)).st_size for where, _, names in os.walk(folder) for name in names)
