"""What a reviewer sees of an evaluation's samples: traces in a real MLflow store, directly and through its server."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import evaluation_records as made
import mlflow
import pytest

from components.evaluation.policies import TRAINED
from components.evaluation.spans import trajectory_span
from flows.shared.paths import Paths
from flows.shared.prefect_server import answers, free_port
from flows.shared.registry import Registry
from flows.shared.registry_command import mlflow_command


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real MLflow server over a store of its own."""
    paths, port = Paths(tmp_path_factory.mktemp("served")), free_port()
    paths.store.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{paths.mlflow_db}")
        patch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
        process = subprocess.Popen(mlflow_command(paths, port=port), cwd=paths.root, start_new_session=True)
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + 120
    while not answers(f"{url}/health"):
        assert process.poll() is None
        assert time.monotonic() < end, "the MLflow server did not start"
        time.sleep(0.2)
    yield url
    process.send_signal(signal.SIGTERM)
    process.wait(30)


@pytest.mark.parametrize("where", ["file", "server"])
def test_samples_become_traces_of_the_run_with_a_span_a_call(
    where: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: Path = request.getfixturevalue("mlflow_store")
    uri = f"sqlite:///{store}" if where == "file" else request.getfixturevalue("served")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    registry = Registry(Paths(tmp_path), experiment=f"traces-{where}", model="m")
    run_id = registry.open_run("evaluate", run_id=None, tags={})
    problems = made.problems(3)
    trajectories = made.trajectories(TRAINED[-1], problems)
    for problem, trajectory in zip(problems, trajectories, strict=True):
        registry.log_trace(run_id, trajectory_span(problem, trajectory, policy="final", start_ns=time.time_ns()))
    experiment = mlflow.get_experiment_by_name(f"traces-{where}")
    assert experiment is not None
    traces = mlflow.search_traces(locations=[experiment.experiment_id], run_id=run_id, return_type="list")
    assert len(traces) == 3
    calls = [span for trace in traces for span in trace.data.spans if span.span_type == "TOOL"]
    assert len(calls) == sum(len(turn.results) for one in trajectories for turn in one.transitions)
    assert all(span.attributes["cost.money"] > 0 and span.attributes["cache_hit"] is False for span in calls)
    assert {trace.info.request_metadata["mlflow.sourceRun"] for trace in traces} == {run_id}
