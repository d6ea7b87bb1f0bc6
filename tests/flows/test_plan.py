"""`qanat plan`: a table made of runs on record, and predictions that a person can read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from components.capacity.costs import MeasuredRun, StageCost
from components.capacity.work import Recipe, grown, work_of
from components.records.atomic import write_json
from components.records.codec import to_json
from flows import plan
from flows.shared.faults import UserFault
from flows.shared.params import load_params, set_profile
from flows.shared.paths import Paths
from flows.shared.registry import Registry

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    return Paths(tmp_path)


def recipe_of(paths: Paths, profile: str) -> Recipe:
    set_profile(paths, profile)
    params = load_params(paths)
    return plan._recipe(params)


def write_table(paths: Paths, **seconds_a_unit: float) -> None:
    runs = []
    for profile, rate in seconds_a_unit.items():
        work: Mapping[str, float] = work_of(recipe_of(paths, profile))
        costs = {stage: StageCost(units, 5 + rate * units, 100 * units) for stage, units in work.items()}
        runs.append(MeasuredRun(f"{profile} abc", 134.5e6, costs))
    (paths.root / "infra").mkdir(exist_ok=True)
    write_json(paths.root / "infra" / "unit_costs.json", to_json(plan.Table("2 cores", 1e11, tuple(runs))))


def without_git(paths: Paths) -> None:
    (paths.root / ".dvc").mkdir()
    (paths.root / ".dvc" / "config").write_text("[core]\n    no_scm = true\n")


def test_every_stage_of_the_pipeline_has_a_work(paths: Paths) -> None:
    from flows.shared.graph import stage_definition

    work = work_of(recipe_of(paths, "demo"))
    assert all(stage_definition(paths.root, stage) for stage in work)
    assert work["evaluate"] == 320 * 7


def test_decisions_that_are_not_forced_are_no_work(paths: Paths) -> None:
    written = paths.params.read_text()
    forced = work_of(recipe_of(paths, "demo"))
    paths.params.write_text(written.replace("\nevaluate:\n", "\nevaluate:\n  forced: false\n"))
    assert work_of(recipe_of(paths, "demo"))["evaluate"] < forced["evaluate"]


def test_work_grows_with_the_problems_but_not_the_test(paths: Paths) -> None:
    demo = recipe_of(paths, "demo")
    before, after = work_of(demo), work_of(grown(demo, 6400))
    assert after["clone"] == 10 * before["clone"]
    assert after["selfplay"] == 10 * before["selfplay"]
    assert after["evaluate"] == before["evaluate"]


def test_generations_and_prices_are_work(paths: Paths) -> None:
    once = work_of(recipe_of(paths, "demo"))
    written = paths.params.read_text()
    more = written.replace("{earlier: {}, start: reinforced}", "{earlier: {a: reinforced}, start: a}")
    more = more.replace("\nevaluate:\n", "\nevaluate:\n  prices: [0, 0.3]\n")
    paths.params.write_text(more)
    twice = work_of(recipe_of(paths, "demo"))
    grew = {stage: twice[stage] / units for stage, units in once.items() if units}
    assert {stage for stage, factor in grew.items() if factor == 2} == {"selfplay", "distil"}
    assert grew["evaluate"] == pytest.approx(9 / 7)
    write_table(paths, smoke=0.1)
    with pytest.raises(UserFault, match="one generation"):
        list(plan.measure(paths))


def test_prediction_names_time_memory_storage_money_and_what_is_full(paths: Paths) -> None:
    write_table(paths, smoke=0.1, demo=0.1)
    lines = list(plan.predict(paths, 1e6, "7b", 64, "h100"))
    assert lines[0] == "1000000 train problems, a model of 7b, on 64 x h100"
    for word in ("time ", "memory ", "storage ", "money ", "saturates ", "assumed "):
        assert any(line.startswith(word) for line in lines), word
    assert any("saturates  memory of a GPU" in line for line in lines)
    assert any("one process in" in line for line in plan.predict(paths, 1e6, "1.5b", 64, "h100"))


def test_a_run_on_the_line_of_the_others_is_predicted_exactly(paths: Paths) -> None:
    write_table(paths, smoke=0.1, demo=0.1, full=0.1)
    wholes = [line for line in plan.validation(paths) if "whole" in line]
    assert [line.rsplit(" ", 1)[1] for line in wholes] == ["(+0%)"] * 3


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"model": "8b"}, "--model: must be one of 135m, 360m, 1.5b, 7b, 32b, is '8b'"),
        ({"gpu": "abacus"}, "--gpu: must be one of h100, a100, l4, is 'abacus'"),
        ({"problems": 0.5}, "--problems: must be at least 1, is 0.5"),
    ],
)
def test_what_cannot_be_asked_is_told(paths: Paths, asked: Mapping[str, object], message: str) -> None:
    write_table(paths, smoke=0.1)
    wanted = {"problems": 100.0, "model": "135m", "gpus": 1, "gpu": "h100", **asked}
    with pytest.raises(UserFault) as told:
        list(plan.predict(paths, **wanted))  # type: ignore[arg-type]
    assert str(told.value) == message


def test_a_table_that_is_missing_or_broken_is_told(paths: Paths) -> None:
    with pytest.raises(UserFault, match=r"there is no infra/unit_costs.json"):
        list(plan.validation(paths))
    write_table(paths, smoke=0.1)
    with pytest.raises(UserFault, match="has one run"):
        list(plan.validation(paths))
    (paths.root / "infra" / "unit_costs.json").write_text('{"machine": 3}')
    with pytest.raises(UserFault, match=r"^infra/unit_costs.json: machine"):
        list(plan.validation(paths))


def test_runs_on_record_become_a_table(paths: Paths, mlflow_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{mlflow_store}")
    stage = "stages: {base: {cmd: x, outs: [data/models/base]}, selfplay: {cmd: y, deps: [data/models/base]}}"
    paths.dag.write_text(stage)
    registry = Registry(paths, experiment="qanat", model="qanat")
    for name in ("base", "selfplay"):
        made = registry.open_run(name, run_id=None, tags={})
        registry.close_run(made, status="FINISHED")
        paths.run_ref(name).parent.mkdir(parents=True, exist_ok=True)
        ref = {"mlflow_run_id": made, "git_sha": "0123456789abcdef", "profile": "demo"}
        paths.run_ref(name).write_text(json.dumps(ref))
    paths.model("base").mkdir(parents=True)
    (paths.model("base") / "model.safetensors").write_bytes(bytes(2000))
    without_git(paths)
    assert list(plan.measure(paths)) == ["infra/unit_costs.json: demo 0123456789ab"]
    assert list(plan.measure(paths)) == ["infra/unit_costs.json: demo 0123456789ab"], "the same run came twice"
    (run,) = plan._read(paths).runs
    assert run.parameters == 1000
    assert run.stages["base"].stored == 2000
    assert run.stages["selfplay"].work == work_of(recipe_of(paths, "demo"))["selfplay"] > 0


def test_a_stage_without_a_run_is_told(paths: Paths) -> None:
    paths.dag.write_text("stages: {base: {cmd: x}}")
    without_git(paths)
    with pytest.raises(UserFault, match=r"stage base left no data/reports/runs/base.json"):
        list(plan.measure(paths))
