"""Real parts for tests of flows: one Prefect server a session, and a small project with a DAG of three stages."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.shared import environ, prefect_server
from flows.shared.paths import Paths
from flows.shared.process import alone

REPOSITORY = Path(__file__).resolve().parents[2]

DAG = """\
stages:
  first:
    cmd: python stages/first.py
    deps: [stages/first.py, data/source.txt]
    outs: [data/first.txt]
  second:
    cmd: python stages/second.py
    deps: [stages/second.py, data/first.txt]
    params: [seed]
    outs:
      - data/second.txt
      - data/reports/runs/second.json
  third:
    cmd: python stages/third.py
    deps: [stages/third.py, data/second.txt, data/annotations]
    outs: [data/models/final, data/reports/evaluation]
"""
FIRST = "from pathlib import Path\nPath('data/first.txt').write_text(Path('data/source.txt').read_text().upper())\n"
SECOND = '''\
"""Counts to 5 with a checkpoint at each step; stops for a while where a file tells it to."""
import time
from pathlib import Path
from flows.shared.stage import stage_run

with stage_run("second") as run:
    checkpoint, pause = run.work / "step", Path("pause-at")
    done = int(checkpoint.read_text()) if checkpoint.is_file() else 0
    run.say(f"starting at {done}")
    for step in range(done + 1, 6):
        checkpoint.write_text(str(step))
        run.progress(step, 5, "1 step/s", {"loss": 1 / step})
        run.log_metrics({"loss": 1 / step}, step)
        if pause.is_file() and int(pause.read_text()) == step:
            time.sleep(60)
    Path("data/second.txt").write_text(Path("data/first.txt").read_text() + str(run.seed))
'''
THIRD = '''\
"""Leaves what a promotion needs: a model folder, and rows of a good challenger and a bad clone."""
from pathlib import Path
from components.evaluation.rows import EvalRow
from components.records.jsonl import write_records
from components.records.manifest import write_manifest

model, rows = Path("data/models/final"), Path("data/reports/evaluation/rows.jsonl")
model.mkdir(parents=True)
rows.parent.mkdir(parents=True)
(model / "config.json").write_text(Path("data/second.txt").read_text())
write_manifest(model)
write_records(rows, [
    EvalRow(policy, f"p{i}", f"g{i}", (), i % 10 < right, 1, 1.0, 1, 0, "search", "x")
    for policy, right in (("final", 9), ("clone", 3)) for i in range(100)
])
'''
REGISTRY = "experiment: toy\nmodel: {model}\nlineage_run: data/reports/runs/second.json\nrequired_tags: [git.sha]\n"


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API of a real server on loopback; flows of this process use it."""
    paths = Paths(tmp_path_factory.mktemp("prefect"))
    paths.prefect_home.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch, alone(paths.serving) as groups:
        # set, not filled in: an earlier test that called `main` has filled in the home of a project of its own
        patch.setenv("PREFECT_HOME", str(paths.prefect_home))
        environ.prepare(paths)
        with prefect_server.api(paths, groups) as url:
            from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

            with temporary_settings({PREFECT_API_URL: url, PREFECT_HOME: paths.prefect_home}):
                yield url


@pytest.fixture(scope="session")
def mlflow_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One database for all tests: making its tables takes seconds."""
    return tmp_path_factory.mktemp("mlflow") / "mlflow.db"


@pytest.fixture
def project(tmp_path: Path, mlflow_store: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """A git repository with a DAG of three stages; the second one uses the frame and can be paused."""
    return _make_project(tmp_path, mlflow_store, monkeypatch)


@pytest.fixture(scope="module")
def shared_project(tmp_path_factory: pytest.TempPathFactory, mlflow_store: Path) -> Iterator[Paths]:
    """The same, one for all tests of a file: they leave it as it was."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield _make_project(tmp_path_factory.mktemp("shared"), mlflow_store, monkeypatch)


def _make_project(tmp_path: Path, mlflow_store: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    files = {"dvc.yaml": DAG, "params.yaml": "profile: demo\nseed: 0\n", "data/source.txt": "water\n"}
    files["mlflow/registry.yaml"] = REGISTRY.format(model=tmp_path.name)
    scripts = {"stages/first.py": FIRST, "stages/second.py": SECOND, "stages/third.py": THIRD}
    for name, text in {**files, **scripts, ".gitignore": ".work/\n.qanat/\n"}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name, value in own_environment(mlflow_store).items():
        monkeypatch.setenv(name, value)
    for command in (
        ["git", "init", "-q"],
        ["dvc", "init", "-q"],
        ["git", "add", "-A"],
        ["git", "commit", "-q", "-m", "x"],
    ):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    paths = Paths(tmp_path)
    paths.annotations.mkdir()
    (paths.annotations / "a.jsonl").write_text("{}\n")
    return paths


def own_environment(store: Path) -> dict[str, str]:
    """Variables under which a process works with this repository's code, an own MLflow store and an own name."""
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "MLFLOW_TRACKING_URI": f"sqlite:///{store}",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@example.org",
        "DVC_NO_ANALYTICS": "1",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
    }
