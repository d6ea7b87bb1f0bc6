"""What the stage `evaluate` writes, whichever model is the last one judged."""

from __future__ import annotations

import evaluation_records as made
import mlflow
import pytest
import yaml

from components.evaluation.policies import plan
from components.evaluation.rows import EvalRow
from components.records.jsonl import read_records
from flows.shared.params import load_params
from flows.shared.paths import Paths
from flows.shared.registry import Registry
from flows.shared.stage import StageRun
from flows.stages.evaluate import _write


@pytest.mark.parametrize("judged", ["clone", "reinforced", "final"])
@pytest.mark.parametrize("forced", [True, False])
def test_rows_report_and_traces_are_of_the_model_that_is_judged(project: Paths, judged: str, forced: bool) -> None:
    evaluate = {"judged_model": judged, "forced": forced, "resamples": 200, "traces": 2}
    project.params.write_text(yaml.safe_dump({"profile": "demo", "seed": 0, "evaluate": evaluate}))
    registry = Registry(project, experiment="test", model="test")
    run_id = registry.open_run("evaluate", run_id=None, tags={})
    run = StageRun("evaluate", project, load_params(project), registry, run_id)
    problems = made.problems(48)
    played = {play.policy: made.trajectories(play, problems) for play in plan(judged, forced=forced)}
    _write(run, problems, played)
    rows = read_records(project.evaluation_rows, EvalRow)
    assert {row.policy for row in rows} == set(played)
    assert project.evaluation_html.stat().st_size > 10_000
    client = mlflow.MlflowClient()
    assert f"eval/{judged}/accuracy" in client.get_run(run_id).data.metrics
    experiments = [one.experiment_id for one in mlflow.search_experiments()]
    traces = mlflow.search_traces(locations=experiments, run_id=run_id, return_type="list")
    assert {trace.data.spans[0].attributes["policy"] for trace in traces} == {judged}
    assert len(traces) == 2
