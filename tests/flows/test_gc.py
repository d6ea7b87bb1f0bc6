"""What is removed is what nothing needs, and only when a person says so."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from components.schema.report import GateResult
from flows.gc import collect
from flows.shared import approvals
from flows.shared.decisions import lock_digest
from flows.shared.newest_retrain import Newest, write_newest
from flows.shared.paths import Paths
from flows.shared.promoting import open_desk
from flows.shared.turns import TurnTaken, sole_turn
from flows.shared.workspace import Workspace, prepare


def _workspace(project: Paths, seed: int) -> Paths:
    """Made later than those before it, by its seed."""
    made = prepare(project, commit="HEAD", profile=None, seed=seed)
    space = Paths(Path(made.root))
    space.dvc_lock.write_text(f"lock {seed}")
    os.utime(space.root, (seed * 1000, seed * 1000))
    return space


def _collect(project: Paths, *, apply: bool) -> list[str]:
    said: list[str] = []
    collect(project, apply=apply, say=said.append)
    return said


def test_needed_and_newest_workspaces_stay_and_removed_ones_leave_their_lock(project: Paths) -> None:
    project.operations.parent.mkdir()
    project.operations.write_text("retention: {workspaces: 1}\n")
    desk = open_desk(project)
    registry = desk.registry
    idle, waits, champion, asked, newest = (_workspace(project, seed) for seed in range(1, 6))
    payload = project.root / "payload"
    payload.mkdir()
    (payload / "config.json").write_text("{}")
    run_id = registry.open_run("distil", run_id=None, tags={})
    tags = {"dvc.lock.sha256": lock_digest(champion), "payload.sha256": "x"}
    version = registry.register(payload, run_id=run_id, tags=tags)
    registry.set_alias("champion", version.number)
    approvals.wait(replace(desk, paths=waits), version, GateResult("promote", "better", "version 1", "clone", {}))
    write_newest(project, Newest("data", 1, 1, 0.0, "run", str(asked.root)))
    listed = _collect(project, apply=False)
    assert str(idle.root.relative_to(project.root)) in listed[0]
    assert listed[-1].endswith("would be removed by `qanat gc --apply`")
    assert idle.root.is_dir()
    digest = lock_digest(idle)
    with sole_turn(project.retrain_turns), pytest.raises(TurnTaken):
        _collect(project, apply=True)
    _collect(project, apply=True)
    assert [space.root.is_dir() for space in (idle, waits, champion, asked, newest)] == [False, True, True, True, True]
    assert (project.locks / f"{digest}.lock").read_text() == "lock 1"
    assert project.registry.is_file()
    assert (registry.folder(version) / "config.json").is_file()
    listing = subprocess.run(["git", "worktree", "list"], cwd=project.root, capture_output=True, text=True).stdout
    assert str(idle.root) not in listing


def test_checkpoints_that_nobody_continued_go_and_fresh_ones_stay(project: Paths) -> None:
    old, fresh = project.work("old"), project.work("fresh")
    for folder in (old, fresh):
        folder.mkdir(parents=True)
        (folder / "step").write_text("3")
    for entry in (old, old / "step"):
        os.utime(entry, (0, 0))
    _collect(project, apply=True)
    assert (old.exists(), fresh.exists()) == (False, True)


def test_the_same_request_gets_the_same_workspace_and_other_annotations_another(project: Paths) -> None:
    first = prepare(project, commit="HEAD", profile=None, seed=None)
    assert prepare(project, commit="HEAD", profile=None, seed=None) == first
    (project.annotations / "b.jsonl").write_text("{}\n")
    second = prepare(project, commit="HEAD", profile=None, seed=None)
    assert isinstance(second, Workspace)
    assert (second.key != first.key, second.rows) == (True, 2)
    half = Paths(Path(second.root))
    (half.root / ".work" / "workspace.json").unlink()  # as if its making had been killed
    half.annotations.joinpath("b.jsonl").unlink()
    assert prepare(project, commit="HEAD", profile=None, seed=None) == second
    assert half.annotations.joinpath("b.jsonl").is_file()
    assert not (project.root / "dvc.lock").exists()
