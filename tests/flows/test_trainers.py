"""A stage in several processes: one of them is the stage, the others only compute for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import mlflow
import pytest

from flows.shared import trainers
from flows.shared.environ import rank
from flows.shared.paths import Paths

STAGE = """
import sys, torch
from flows.shared.trainers import team_run

with team_run("second") as (run, team):
    total = torch.tensor([team.rank + 1.0])
    team.add_up([total])
    run.say(f"{team.rank} of {team.size}")
    run.log_metrics({"total": float(total)})
    run.note("size", str(team.size))
    (run.paths.root / f"rank-{team.rank}").write_text(f"{run.leads} {float(total)} {team.sharded}")
    if "fail" in sys.argv and team.rank == 1:
        raise RuntimeError("the helper is ill")
    team.meet()
"""


def _run(project: Paths, *arguments: str) -> subprocess.CompletedProcess[str]:
    (project.data / "first.txt").write_text("WATER\n")
    script = project.root / "toy_stage.py"
    script.write_text(STAGE)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    root = str(os.getcwd())
    return subprocess.run([*torchrun, str(script), *arguments], cwd=project.root, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": root, "QANAT_SHARDED": "1"}, timeout=300)  # fmt: skip


def test_one_process_tells_and_records_and_both_have_the_sum(project: Paths) -> None:
    ended = _run(project)
    assert ended.returncode == 0, ended.stderr
    assert [(project.root / f"rank-{number}").read_text() for number in range(2)] == [
        "True 3.0 True",
        "False 3.0 True",
    ]
    assert [line for line in ended.stdout.splitlines() if " of " in line] == ["0 of 2"]
    reference = json.loads(project.run_ref("second").read_text())
    assert reference["size"] == "2"
    run = mlflow.MlflowClient().get_run(reference["mlflow_run_id"])
    assert run.data.metrics == {"total": 3.0}
    assert run.info.status == "FINISHED"
    finished = "params.size = '2' and attributes.status = 'FINISHED'"  # the store is that of other tests, too
    assert len(mlflow.MlflowClient().search_runs([run.info.experiment_id], finished)) == 1


def test_a_helper_that_fails_ends_the_stage(project: Paths) -> None:
    ended = _run(project, "fail")
    assert ended.returncode != 0
    assert "the helper is ill" in ended.stderr
    assert not project.run_ref("second").exists()


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the process would have become."""
    monkeypatch.delenv("RANK", raising=False)
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, words: became.append(list(words)))
    return became


def _note(calls: list[str]) -> Callable[[], None]:
    return lambda: calls.append("main")


@pytest.mark.parametrize("asked", ["", "1"])
def test_without_trainers_the_stage_runs_here(
    asked: str, called: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setenv("QANAT_TRAINERS", asked)
    trainers.launch("clone", _note(calls))
    assert (calls, called) == (["main"], [])


def test_trainers_are_started_once(called: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setenv("QANAT_TRAINERS", "3")
    trainers.launch("distil", _note(calls), ["generation-1"])
    (words,) = called
    assert words[words.index("--nproc-per-node") + 1 :] == ["3", "-m", "flows.stages.distil", "generation-1"]
    monkeypatch.setenv("RANK", "2")
    trainers.launch("distil", _note(calls))
    assert (calls, len(called), rank()) == (["main"], 1, 2)


@pytest.mark.parametrize("asked", ["0", "two", "-1"])
def test_a_number_of_trainers_that_is_none_is_refused(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QANAT_TRAINERS", asked)
    with pytest.raises(SystemExit, match=r"clone: QANAT_TRAINERS: must be a whole number >= 1"):
        trainers.launch("clone", _note([]))
