"""Plays of an evaluation are kept by all that decides how they come out, and by nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from components.policy.told_price import write_levels
from flows.shared import plays
from flows.shared.params import load_params
from flows.shared.paths import Paths
from flows.shared.plays import play_folders
from flows.shared.stage import StageRun

DAG = {
    "stages": {
        "evaluate": {
            "cmd": "true",
            "deps": ["code.py", "data/models/clone", "data/models/reinforced", "data/problems", "data/reports/steps"],
            "params": ["evaluate", "policy", "prices", "reward", "tools", "seed"],
        }
    }
}
VALUES = {"profile": "demo", "seed": 0, "reward": {"price": 0.1}, "evaluate": {"resamples": 500}}
MODELS = ("clone", "reinforced")


@pytest.fixture
def prepared(project: Paths) -> Paths:
    """Two models, problems and code, as an evaluation depends on them."""
    project.dag.write_text(yaml.safe_dump(DAG))
    for model in MODELS:
        _write(project.model(model) / "weights", model)
    _write(project.all_problems / "test.jsonl", "problems")
    _write(project.reports / "steps", "steps")
    _write(project.root / "code.py", "code")
    return project


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def folders(project: Paths, **changes: object) -> dict[str, Path]:
    project.params.write_text(yaml.safe_dump({**VALUES, **changes}))
    return play_folders(StageRun("evaluate", project, load_params(project), None, "none"), MODELS)


def test_a_model_that_changed_is_played_again_and_the_others_are_not(prepared: Paths) -> None:
    before = folders(prepared)
    assert before == folders(prepared)
    assert before["clone"] != before["reinforced"]
    _write(prepared.model("reinforced") / "weights", "trained anew")
    after = folders(prepared)
    assert after["clone"] == before["clone"]
    assert after["reinforced"] != before["reinforced"]


def test_equal_models_of_two_names_have_plays_of_their_own(prepared: Paths) -> None:
    _write(prepared.model("reinforced") / "weights", "clone")
    found = folders(prepared)
    assert found["clone"] != found["reinforced"]


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"tools": {"k": 3}},
        {"policy": {"slots": 64}},
        {"prices": {"unit": 0.01}},
        {"evaluate": {"max_problems": 8}},
        {"evaluate": {"batch_size": 8}},
    ],
)
def test_what_decides_how_a_play_comes_out_makes_it_again(prepared: Paths, changes: dict[str, object]) -> None:
    assert not set(folders(prepared).values()) & set(folders(prepared, **changes).values())


@pytest.mark.parametrize("name", ["code.py", "data/problems/test.jsonl"])
def test_other_code_or_problems_make_every_play_again(prepared: Paths, name: str) -> None:
    before = folders(prepared)
    _write(prepared.root / name, "changed")
    assert not set(before.values()) & set(folders(prepared).values())


@pytest.mark.parametrize(
    "changes",
    [{"reward": {"price": 0.3}}, {"evaluate": {"resamples": 900, "judged_model": "clone", "forced": False}}],
)
def test_what_only_judges_plays_leaves_them(prepared: Paths, changes: dict[str, object]) -> None:
    before = folders(prepared)
    _write(prepared.reports / "steps", "other steps")
    assert folders(prepared, **changes) == before


def test_a_model_that_is_told_the_price_is_played_again_under_another_one(prepared: Paths) -> None:
    write_levels(prepared.model("reinforced"), (0.1, 0.3))
    before, after = folders(prepared), folders(prepared, reward={"price": 0.3})
    assert after["clone"] == before["clone"]
    assert after["reinforced"] != before["reinforced"]


def test_the_plays_that_were_not_used_for_longest_are_removed(prepared: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plays, "KEPT", 4)
    kept, dropped = folders(prepared), folders(prepared, seed=1)
    for age, found in ((100, kept), (200, dropped)):
        for folder in found.values():
            _write(folder / "clone-0000.jsonl", "")
            os.utime(folder, (age, age))
    folders(prepared)  # used again
    newest = folders(prepared, seed=2)
    left = set(prepared.plays.iterdir())
    assert left == {*kept.values(), *newest.values()}
