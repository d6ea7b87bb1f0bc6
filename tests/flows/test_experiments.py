"""Experiments: every variant runs the DAG under its own parameters, once, and goes on after a kill."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from experiment_records import left

from components.experiments.catalogue import EXPERIMENTS
from components.experiments.plan import Variant
from components.records.jsonl import write_records
from flows.experiments import run_experiment
from flows.shared import variant_archive, variant_runs
from flows.shared.faults import UserFault
from flows.shared.params import PROFILES, SECTIONS, load_params
from flows.shared.paths import Paths
from flows.shared.variant_runs import commands as real_commands

pytestmark = pytest.mark.usefixtures("prepared")
DAG = """\
stages:
  clone:
    cmd: python stages/clone.py
    deps: [stages/clone.py, data/annotations]
    params: [seed]
    outs: [data/models/clone]
  reinforce:
    cmd: python stages/reinforce.py
    deps: [stages/reinforce.py, data/models/clone]
    params: [reward.price, seed]
    outs: [data/models/reinforced, data/reports/reinforce_steps.jsonl]
  distil:
    cmd: python -c "raise SystemExit('a variant that stops before it must not run it')"
    deps: [data/models/reinforced]
    outs: [data/models/final]
"""
CLONE = """\
from pathlib import Path
Path("data/models").mkdir(parents=True, exist_ok=True)
Path("data/models/clone").write_text("clone")
log = Path(__file__).resolve().parents[4] / "made.txt"
log.write_text((log.read_text() if log.is_file() else "") + "clone\\n")
"""
REINFORCE = """\
from pathlib import Path
import yaml
if Path(__file__).resolve().parents[4].joinpath("fail").is_file():
    raise SystemExit("reinforce: no luck")
price = yaml.safe_load(Path("params.yaml").read_text())["reward"]["price"]
Path("data/models/reinforced").write_text(str(price))
Path("data/reports").mkdir(parents=True, exist_ok=True)
Path("data/reports/reinforce_steps.jsonl").write_text('{"step": 1, "price": %s}\\n' % price)
"""
EVALUATE = """\
from pathlib import Path
import yaml
params = yaml.safe_load(Path("params.yaml").read_text())
report = Path("data/reports/evaluation")
report.mkdir(parents=True, exist_ok=True)
(report / "rows.jsonl").write_text(Path("data/models/reinforced").read_text() + params["evaluate"]["judged_model"])
(report / "trajectories.jsonl").write_text("")
with Path(".work/plays/clone").open("a") as plays:
    plays.write("played ")
"""


@pytest.fixture
def prepared(project: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy project with stages of the names that variants ask for; its own evaluation stands in for the real one."""
    files = {"dvc.yaml": DAG, "stages/clone.py": CLONE, "stages/reinforce.py": REINFORCE, "evaluate.py": EVALUATE}
    files["params.yaml"] = "profile: demo\nseed: 0\nreward: {price: 0.1}\n"
    for name, text in files.items():
        (project.root / name).write_text(text)
    (project.root / "components" / "policy").mkdir(parents=True)
    (project.root / ".gitignore").write_text(".work/\n.qanat/\nmade.txt\nfail\n")
    real = variant_runs.commands

    def commands(copy: Path, variant: Variant) -> list[list[str]]:
        return [*real(copy, variant)[:-1], [sys.executable, "evaluate.py"]]

    monkeypatch.setattr(variant_runs, "commands", commands)


def _run(paths: Paths, price: float, *, seed: int = 0, shared: Path | None = None) -> Path:
    variant = Variant("v", "a price", params={"reward.price": price})
    return variant_runs.run(paths, variant, seed=seed, profile="smoke", say=lambda text: None, shared=shared)


def test_a_variant_has_its_own_parameters_and_what_variants_share_is_made_once(project: Paths) -> None:
    one, other = _run(project, 0.1), _run(project, 0.7)
    assert (one / "rows.jsonl").read_text() == "0.1reinforced"
    assert (other / "rows.jsonl").read_text() == "0.7reinforced"
    assert json.loads((other / "reinforce_steps.jsonl").read_text())["price"] == 0.7
    assert (project.root / ".work" / "made.txt").read_text().splitlines() == ["clone"], "DVC's cache is shared"
    assert (project.plays / "clone").read_text() == "played played ", "so are plays, and they outlive the variants"
    assert yaml.safe_load(project.params.read_text())["reward"]["price"] == 0.1, "the project itself is untouched"
    assert _run(project, 0.7) == other
    assert _run(project, 0.7, seed=1) != other


def test_a_variant_that_failed_goes_on_where_it_stood(project: Paths) -> None:
    (project.root / ".work").mkdir(exist_ok=True)
    stop = project.root / ".work" / "fail"
    stop.touch()
    with pytest.raises(variant_runs.VariantFailed, match="no luck"):
        _run(project, 0.1)
    stop.unlink()
    assert (_run(project, 0.1) / "rows.jsonl").is_file()
    assert (project.root / ".work" / "made.txt").read_text().splitlines() == ["clone"]


def test_a_variant_that_another_machine_finished_is_not_run_again(project: Paths, tmp_path: Path) -> None:
    made = _run(project, 0.1, shared=tmp_path / "shared")
    left = {file.name: file.read_bytes() for file in made.iterdir()}
    assert {"rows.jsonl", "made.json", "done"} <= set(left)
    shutil.rmtree(project.variants)
    (project.root / ".work" / "fail").touch()  # whoever ran a stage now would fail
    again = _run(project, 0.1, shared=tmp_path / "shared")
    assert {file.name: file.read_bytes() for file in again.iterdir()} == left
    with pytest.raises(variant_runs.VariantFailed):
        _run(project, 0.7, shared=tmp_path / "shared")


def test_what_was_finished_before_is_put_where_others_find_it(project: Paths, tmp_path: Path) -> None:
    made = _run(project, 0.1)
    _run(project, 0.1, shared=tmp_path / "shared")
    assert [file.name for file in (tmp_path / "shared").iterdir()] == [f"{made.name}.tar.xz"]


def test_an_archive_has_the_same_bytes_for_the_same_files_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "rows.jsonl").write_text("a row\n")
    one, other = (variant_archive.pack(tmp_path / name, "key", tmp_path / "left") for name in ("one", "other"))
    os.utime(tmp_path / "left" / "rows.jsonl", (0, 0))
    assert one.read_bytes() == other.read_bytes()
    (tmp_path / "left" / "rows.jsonl").write_text("another row\n")
    assert variant_archive.pack(tmp_path / "one", "key", tmp_path / "left").read_bytes() == other.read_bytes()


@pytest.mark.parametrize("kept", [0, 1, 40])
def test_a_damaged_archive_is_told_by_name(tmp_path: Path, kept: int) -> None:
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "rows.jsonl").write_text("a row\n" * 100)
    archive = variant_archive.pack(tmp_path, "key", tmp_path / "left")
    archive.write_bytes(archive.read_bytes()[:kept])
    with pytest.raises(UserFault, match=r"key\.tar\.xz is damaged"):
        variant_archive.unpack(tmp_path, "key", tmp_path / "laid")


def test_changed_annotations_make_another_variant(project: Paths) -> None:
    before = _run(project, 0.1)
    (project.annotations / "b.jsonl").write_text("{}\n")
    assert _run(project, 0.1) != before


def test_changed_code_makes_another_variant_where_a_stage_reads_it(project: Paths) -> None:
    before = _run(project, 0.1)
    (project.root / "components" / "page.py").write_text("COLOUR = 1\n")
    assert _run(project, 0.1) == before, "no stage reads it"
    (project.root / "stages" / "clone.py").write_text(f"{CLONE}# another\n")
    assert _run(project, 0.1) != before


def test_what_reads_results_changes_no_variant_but_what_the_trial_runs_does(project: Paths) -> None:
    def key() -> str:
        variant = Variant("v", "x", trial=True)
        params = variant_runs.parameters(project, variant, seed=0, profile="smoke")
        return variant_runs.key_of(project, params, variant)

    before = key()
    reader = project.root / "components" / "experiments" / "search.py"
    reader.parent.mkdir()
    reader.write_text("BAR = 3\n")
    assert key() == before
    (project.root / "components" / "page.py").write_text("COLOUR = 1\n")
    assert key() != before


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_written_from_what_its_variants_left(name: str, project: Paths) -> None:
    for variant in EXPERIMENTS[name].variants:
        _leave(project, variant)
    told = list(run_experiment(project, name, seeds=[0], profile="smoke", say=lambda text: None))
    result = json.loads((project.experiments / f"{name}.json").read_text())
    assert len(result["rows"]) == len(told) > 3
    assert result["command"].startswith(f"qanat experiments {name}")
    assert result["machine"] == "; ".join(f"the machine of {one.name}" for one in EXPERIMENTS[name].variants)
    assert "<svg" in (project.experiments / f"{name}.svg").read_text()
    drawn = project.experiments / f"{name}_curves.svg"
    assert drawn.is_file() == (name in {"frontier", "normaliser"})


def _leave(paths: Paths, variant: Variant) -> None:
    """What the variant would leave, where a finished one keeps it."""
    params = variant_runs.parameters(paths, variant, seed=0, profile="smoke")
    folder, found = paths.variants / variant_runs.key_of(paths, params, variant), left(variant, count=48)
    write_records(folder / "rows.jsonl", [row for rows in found.rows.values() for row in rows])
    write_records(folder / "trajectories.jsonl", found.trajectories)
    (folder / "reinforce_steps.jsonl").write_text("".join(json.dumps(dict(step)) + "\n" for step in found.steps))
    if variant.trial:
        write_records(folder / "attempts.jsonl", found.attempts)
        (folder / "figures.json").write_text(json.dumps(dict(found.figures)))
    (folder / "made.json").write_text(json.dumps({"machine": f"the machine of {variant.name}", "git_sha": "0"}))
    (folder / "done").touch()


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_real_settings_take_what_variants_ask_for(name: str, profile: str, tmp_path: Path) -> None:
    real = Paths(Path(__file__).resolve().parents[2])
    keys = set()
    for variant in EXPERIMENTS[name].variants:
        values = variant_runs.parameters(real, variant, seed=1, profile=profile)
        file = tmp_path / "params.yaml"
        file.write_text(yaml.safe_dump(values))
        params = load_params(real, file)
        assert (params.evaluate.judged_model, params.evaluate.forced) == (variant.last, variant.forced)
        for section in SECTIONS:
            getattr(params, section)
        keys.add(json.dumps([values, variant.last], sort_keys=True))
    assert len(keys) == len(EXPERIMENTS[name].variants), "no two variants are the same"


def test_search_is_tried_after_the_evaluation_where_a_variant_asks_for_it(project: Paths) -> None:
    commands = real_commands(project.root, Variant("v", "x", trial=True))
    assert [command[-1] for command in commands[-2:]] == ["flows.stages.evaluate", "flows.stages.trial"]
    assert real_commands(project.root, Variant("v", "x"))[-1][-1] == "flows.stages.evaluate"


def test_an_unknown_experiment_is_refused_with_the_known_ones(project: Paths) -> None:
    with pytest.raises(UserFault, match=r"boundry.*boundary"):
        list(run_experiment(project, "boundry", seeds=[0], profile="demo", say=lambda text: None))
    with pytest.raises(UserFault, match="--profile"):
        list(run_experiment(project, "boundary", seeds=[0], profile="tiny", say=lambda text: None))


def test_the_command_lists_claims() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "flows.cli", "experiments"],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "engine_swap" in shown.stdout
