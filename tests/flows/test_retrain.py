"""The generic flow over a real DAG, with real DVC, Prefect and MLflow."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.shared.paths import Paths


def _run(project: Paths, api: str) -> subprocess.Popen[str]:
    program = "from flows.retrain import retrain; print(retrain('.', promote=False).outcomes)"
    env = {**os.environ, "PREFECT_API_URL": api}
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=project.root,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


GONE = ("gone", psutil.STATUS_ZOMBIE)
"""A zombie runs nothing and holds no lock; its parent has only not asked for its status yet."""


def _state(pid: int) -> str:
    try:
        return str(psutil.Process(pid).status())
    except psutil.NoSuchProcess:
        return "gone"


def _wait_for(path: Path, text: str, seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not (path.is_file() and path.read_text() == text):
        assert time.monotonic() < end, f"{path} never held {text!r}"
        time.sleep(0.05)


def test_flow_runs_every_stage_once_and_leaves_the_lock_of_bare_dvc(
    project: Paths, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.retrain import retrain

    monkeypatch.chdir(project.root)
    first = retrain(str(project.root), promote=False)
    assert first.outcomes == {"first": "ran", "second": "ran", "third": "ran"}
    assert [(row["stage"], row["outcome"]) for row in _table("stages")] == list(first.outcomes.items())
    assert {_progress(stage) for stage in first.outcomes} == {100.0}, "what has ended is told to have"
    again = retrain(str(project.root), promote=False)
    assert set(again.outcomes.values()) == {"unchanged"}
    lock = project.dvc_lock.read_text()
    bare = subprocess.run(["dvc", "repro"], cwd=project.root, capture_output=True, text=True, check=True)
    assert "Running stage" not in bare.stdout
    assert project.dvc_lock.read_text() == lock
    _assert_prefect_saw_the_tasks()


def _table(key: str) -> list[dict[str, object]]:
    from prefect.artifacts import Artifact

    found = Artifact.get(key)
    assert found is not None
    rows: list[dict[str, object]] = json.loads(str(found.data))
    return rows


def _progress(stage: str) -> float:
    from prefect.artifacts import Artifact

    found = Artifact.get(f"stage-{stage}")
    assert found is not None
    return float(str(found.data))


def _assert_prefect_saw_the_tasks() -> None:
    from prefect.client.orchestration import get_client

    end = time.monotonic() + 15
    with get_client(sync_client=True) as client:
        while time.monotonic() < end:
            runs = client.read_task_runs()
            if (
                sum(run.name == "dvc:second" and run.state is not None and run.state.is_completed() for run in runs)
                >= 2
            ):
                return
            time.sleep(0.3)
    raise AssertionError(f"task runs on the server: {[(run.name, run.state_name) for run in runs]}")


def test_killed_run_continues_from_its_checkpoint_under_the_same_mlflow_run(
    project: Paths, prefect_api: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from flows.retrain import retrain

    pause, checkpoint = project.root / "pause-at", project.work("second") / "step"
    pause.write_text("3")
    killed = _run(project, prefect_api)
    _wait_for(checkpoint, "3")
    before = json.loads((project.work("second") / "run.json").read_text())["run_id"]
    orphan = int((project.work("second") / "lock").read_text())
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert _state(orphan) not in GONE
    pause.unlink()
    monkeypatch.chdir(project.root)
    resumed = retrain(str(project.root), promote=False)
    assert resumed.outcomes == {"first": "unchanged", "second": "ran", "third": "ran"}
    # The orphan may take another step before the new run ends it; what it saved counts.
    assert re.search(r"starting at [3-5]\b", capfd.readouterr().out)
    assert json.loads(project.run_ref("second").read_text())["mlflow_run_id"] == before
    assert not checkpoint.exists()
    assert _state(orphan) in GONE


def test_cancelled_run_leaves_no_process(project: Paths, prefect_api: str) -> None:
    (project.root / "pause-at").write_text("2")
    run = _run(project, prefect_api)
    _wait_for(project.work("second") / "step", "2")
    stage = int((project.work("second") / "lock").read_text())
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=60)
    assert _state(stage) in GONE


def test_failing_stage_is_told_with_its_own_words(
    project: Paths, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.retrain import StageFailed, retrain

    monkeypatch.chdir(project.root)
    project.params.write_text("profile: demo\nseed: -1\n")
    with pytest.raises(StageFailed, match=r"second: params\.yaml: seed: must be a whole number >= 0, is -1"):
        retrain(str(project.root), promote=False)
