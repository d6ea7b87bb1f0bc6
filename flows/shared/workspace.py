"""Where a deployed retrain works: a git worktree a content key, so that asking for the same thing again resumes it.

Takes the project at the desk, a commit and what parameters to change; gives the worktree with a copy of the annotations
as they are now, tracked by DVC. The key is sha256(commit + parameters + annotations). Workspaces share DVC's cache and
the stores in `.qanat/` with the desk; uncommitted changes of the desk are not in them. Does not run or remove anything.
"""

from __future__ import annotations

import configparser
import fcntl
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from components.records.intake import count_rows
from components.records.jsonl import read_records, write_records
from components.schema.identity import stable_hash
from flows.shared import graph
from flows.shared.faults import UserFault
from flows.shared.git import read_commit
from flows.shared.inputs import dvc_hash
from flows.shared.params import set_profile, set_seed
from flows.shared.paths import Paths
from flows.shared.tracking import track


class NoCommit(UserFault):
    """The project has no such commit."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """A worktree that is ready."""

    root: str
    key: str
    commit: str
    """Full hash."""
    data: str
    """DVC's hash of its annotations."""
    rows: int
    """Annotations in it."""


def prepare(desk: Paths, *, commit: str, profile: str | None, seed: int | None) -> Workspace:
    """The workspace of the commit, parameters and annotations; made, or found as it was left."""
    sha = resolve(desk.root, commit)
    desk.workspaces.mkdir(parents=True, exist_ok=True)
    with (desk.workspaces / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        incoming = desk.workspaces / "incoming"
        shutil.rmtree(incoming, ignore_errors=True)
        try:
            return _prepare(desk, incoming, sha, profile, seed)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)


def resolve(root: Path, commit: str) -> str:
    """The full hash of a commit; `NoCommit` when there is none."""
    try:
        return _git(root, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}").strip()
    except subprocess.CalledProcessError:
        raise NoCommit(f"{root} has no commit {commit!r}: deployed retrains work on commits, so commit first") from None


def read_workspace(folder: Path) -> Workspace | None:
    """What a folder of `.qanat/workspaces` is; None when it was never finished."""
    marker = _marker(Paths(folder))
    return read_records(marker, Workspace)[0] if marker.is_file() else None


def _prepare(desk: Paths, incoming: Path, sha: str, profile: str | None, seed: int | None) -> Workspace:
    """Annotations and parameters are copied first: the key is that of the copies, whoever adds meanwhile."""
    shutil.copytree(desk.annotations, incoming / "annotations", ignore=shutil.ignore_patterns(".*"))
    params = Paths(incoming)
    params.params.write_text(_git(desk.root, "show", f"{sha}:params.yaml"), encoding="utf-8")
    if profile is not None:
        set_profile(params, profile)
    if seed is not None:
        set_seed(params, seed)
    data = dvc_hash(incoming / "annotations")
    key = stable_hash([sha, params.params.read_text(encoding="utf-8"), data])
    space = Paths(desk.workspaces / key)
    found = read_workspace(space.root)
    if found is not None:
        os.utime(space.root)  # retention goes by use
        return found
    _make(desk, space, sha, incoming)
    made = Workspace(str(space.root), key, sha, data, count_rows(space.annotations))
    write_records(_marker(space), [made])
    return made


def _make(desk: Paths, space: Paths, sha: str, incoming: Path) -> None:
    remove(desk, space.root)
    _git(desk.root, "worktree", "add", "--detach", "--force", str(space.root), sha)
    space.store.symlink_to(desk.store, target_is_directory=True)
    (incoming / "params.yaml").replace(space.params)
    shutil.rmtree(space.annotations, ignore_errors=True)
    space.annotations.parent.mkdir(parents=True, exist_ok=True)
    (incoming / "annotations").replace(space.annotations)
    _share_cache(desk, space)
    track(space)


def remove(desk: Paths, folder: Path) -> None:
    """Take a workspace away, finished or not."""
    store = folder / ".qanat"
    if store.is_symlink():  # never through the link
        store.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    _git(desk.root, "worktree", "prune")


def _share_cache(desk: Paths, space: Paths) -> None:
    """DVC's cache of the desk, with the desk's own local settings (credentials of remotes)."""
    settings = configparser.ConfigParser()
    settings.read(desk.root / ".dvc" / "config.local", encoding="utf-8")
    with graph.open_repo(desk.root) as repo:
        cache = str(Path(repo.cache.local.path).parents[1])
    settings["cache"] = {**(settings["cache"] if settings.has_section("cache") else {}), "dir": cache}
    with (space.root / ".dvc" / "config.local").open("w", encoding="utf-8") as file:
        settings.write(file)


def _marker(space: Paths) -> Path:
    return space.root / ".work" / "workspace.json"


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(root), *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LC_ALL": "C"},
    ).stdout


def version_of(root: Path) -> str:
    """What the desk's checkout would be deployed as; `NoCommit` outside of git."""
    found = read_commit(root)
    if found.sha == "unknown":
        raise NoCommit(f"{root} has no commit: deployed retrains work on commits, so commit first")
    return found.version
