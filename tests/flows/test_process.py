"""Process groups end whole, and what a killed run left is ended by the next one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flows.shared.process import Groups, RunUnderWay, alone, end_orphans

DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {DEAF!r}])"


def _started(groups: Groups, folder: Path) -> tuple[subprocess.Popen[str], psutil.Process]:
    """A parent with a child that ignores SIGTERM."""
    process = groups.start([sys.executable, "-c", PARENT], cwd=folder)
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    (child,) = psutil.Process(process.pid).children()
    return process, child


def _is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("attempt", range(3))
def test_no_member_of_a_stopped_group_is_left_when_stop_returns(tmp_path: Path, attempt: int) -> None:
    groups = Groups(tmp_path / "run.json")
    process, child = _started(groups, tmp_path)
    groups.stop(process, grace_seconds=0.2)
    assert _is_gone(child)


def test_next_run_ends_what_a_killed_run_left(tmp_path: Path) -> None:
    record = tmp_path / "run.json"
    process, child = _started(Groups(record), tmp_path)
    with alone(record):
        assert _is_gone(child)
    process.wait()
    assert end_orphans(record) == 0


def test_second_run_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with alone(tmp_path / "run.json"), pytest.raises(RunUnderWay, match="another `qanat run` is under way"):
        alone(tmp_path / "run.json").__enter__()


def test_processes_older_than_the_record_are_left_alone(tmp_path: Path) -> None:
    groups = Groups(tmp_path / "run.json")
    process, child = _started(groups, tmp_path)
    recorded = {"groups": [{"pgid": process.pid, "started": child.create_time() + 60}]}
    (tmp_path / "old.json").write_text(json.dumps(recorded))
    assert end_orphans(tmp_path / "old.json") == 0
    assert not _is_gone(child)
    groups.stop(process, grace_seconds=0.2)
