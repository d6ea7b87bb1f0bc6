"""The frame of a stage: resuming, refusing a second copy, and telling faults in one line."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json

import mlflow
import pytest

from flows.shared.inputs import dvc_hash
from flows.shared.params import BadParams
from flows.shared.paths import Paths
from flows.shared.progress import Progress, parse, render, sentence
from flows.shared.stage import stage_run


@pytest.fixture(autouse=True)
def _here(project: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.data / "first.txt").write_text("WATER\n")
    monkeypatch.chdir(project.root)


def test_finished_stage_leaves_its_lineage_and_no_scratch(project: Paths) -> None:
    with stage_run("second") as run:
        (run.work / "checkpoint").write_text("x")
        run.log_metrics({"loss": 0.5}, 1)
        run.note("scorer", "abc")
        run_id = run.run_id
    reference = json.loads(project.run_ref("second").read_text())
    assert (reference["mlflow_run_id"], reference["seed"], reference["scorer"]) == (run_id, 0, "abc")
    assert [path.name for path in run.work.iterdir()] == ["lock"]
    recorded = mlflow.MlflowClient().get_run(run_id)
    assert recorded.info.status == "FINISHED"
    assert recorded.data.metrics == {"loss": 0.5}
    assert recorded.data.params == {"profile": "demo", "seed": "0", "scorer": "abc"}
    (entry,) = recorded.inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("data/first.txt", dvc_hash(project.data / "first.txt"))


def _interrupt(project: Paths) -> str:
    with contextlib.suppress(RuntimeError), stage_run("second") as run:
        (run.work / "checkpoint").write_text("half")
        raise RuntimeError
    return run.run_id


def test_stage_started_again_with_the_same_inputs_goes_on(project: Paths) -> None:
    before = _interrupt(project)
    with stage_run("second") as run:
        assert run.run_id == before
        assert (run.work / "checkpoint").read_text() == "half"


def test_checkpoints_of_other_inputs_are_not_used(project: Paths) -> None:
    before = _interrupt(project)
    (project.data / "first.txt").write_text("OTHER\n")
    with stage_run("second") as run:
        assert run.run_id != before
        assert not (run.work / "checkpoint").exists()


def test_second_copy_of_a_stage_is_refused(project: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    project.work("second").mkdir(parents=True)
    with (project.work("second") / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SystemExit), stage_run("second"):
            raise AssertionError("the body must not run")
    assert capsys.readouterr().err.startswith("second: another copy of this stage is running")


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "model"), "[Errno 28] No space left on device: 'model'"),
        (BadParams("params.yaml: x: unknown"), "params.yaml: x: unknown"),
    ],
)
def test_fault_of_the_user_is_one_line(fault: Exception, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, stage_run("second"):
        raise fault
    assert caught.value.code == 1
    assert capsys.readouterr().err == f"second: {told}\n"


def test_hash_of_a_folder_is_the_one_dvc_records(project: Paths) -> None:
    from flows.annotations import track

    (project.annotations / "deep").mkdir()
    (project.annotations / "deep" / "b.jsonl").write_text("1\n")
    (project.annotations / "Z.jsonl").write_text("2\n")
    track(project)
    assert dvc_hash(project.annotations) in project.annotations.with_suffix(".dvc").read_text()


def test_progress_survives_the_trip_through_a_line() -> None:
    told = Progress("clone", 2, 10, "3 steps/s", {"loss": 0.25})
    assert parse(render(told)) == told
    assert parse("an ordinary line") is None
    assert parse("@@progress {broken") is None
    assert sentence(told) == "clone 2/10  3 steps/s  loss 0.25"
