"""Generations of self-play: one by default; more are stages that start from one another, and wrong chains are told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flows.shared import graph
from flows.shared.faults import UserFault
from flows.shared.generations import FIRST, GenerationSettings, generation, stage_of
from flows.shared.params import BadParams, load_params
from flows.shared.paths import Paths

REPOSITORY = Path(__file__).resolve().parents[2]
ONCE = "generations: {earlier: {}, start: reinforced}"
THRICE = "generations: {earlier: {a: reinforced, b: a}, start: b}"
STAGES = ("base", "corpus", "curate", "clone", "reinforce")
LAST = ("selfplay", "distil", "evaluate")


@pytest.fixture
def shipped(project: Paths) -> Paths:
    """A project with the DAG and the parameters that are shipped."""
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(REPOSITORY / name, project.root / name)
    return project


def _set(paths: Paths, line: str) -> None:
    text = paths.params.read_text()
    assert ONCE in text
    paths.params.write_text(text.replace(ONCE, line))


def test_one_generation_is_the_dag_without_earlier_ones(shipped: Paths) -> None:
    assert graph.stage_names(shipped.root) == (*STAGES, *LAST)
    assert load_params(shipped).generations == GenerationSettings()


def test_every_earlier_generation_is_two_stages_that_start_from_the_one_before(shipped: Paths) -> None:
    _set(shipped, THRICE)
    earlier = [f"earlier_{stage}@{name}" for name in "ab" for stage in ("selfplay", "distil")]
    assert graph.stage_names(shipped.root) == (*STAGES, *earlier, *LAST)
    started = {stage: _models_read(shipped, stage) for stage in (*earlier, *LAST[:2])}
    assert list(started.values()) == ["reinforced", "reinforced", "a", "a", "b", "b"]


def _models_read(paths: Paths, stage: str) -> str:
    models = [dep for dep in graph.stage_definition(paths.root, stage)["deps"] if dep.startswith("data/models/")]
    (model,) = models
    return str(model).removeprefix("data/models/")


def test_a_stage_reads_the_same_definition_as_dvc(shipped: Paths) -> None:
    _set(shipped, THRICE)
    with graph.open_repo(shipped.root) as repo:
        for stage in repo.index.stages:
            if not stage.cmd:
                continue
            mine = graph.stage_definition(shipped.root, stage.name)
            assert mine["cmd"] == stage.cmd
            assert set(mine["deps"]) == {dep.def_path for dep in stage.deps if dep.def_path != "params.yaml"}
            assert set(mine["outs"]) == {out.def_path for out in stage.outs}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("generations: {earlier: {a: clone}, start: a}", "'reinforced', not 'clone'"),
        ("generations: {earlier: {a: reinforced}, start: reinforced}", "'a', not 'reinforced'"),
        ("generations: {earlier: {final: reinforced}, start: final}", "'final' cannot be the name"),
        ("generations: {earlier: {a/b: reinforced}, start: a/b}", "'a/b' cannot be the name"),
    ],
)
def test_a_chain_that_is_none_is_told(shipped: Paths, line: str, reason: str) -> None:
    _set(shipped, line)
    with pytest.raises(BadParams, match=reason):
        _ = load_params(shipped).generations


def test_a_generation_that_is_not_listed_is_told(shipped: Paths) -> None:
    with pytest.raises(UserFault, match=r"params\.yaml: generations\.earlier\.a: is not there"):
        graph.stage_definition(shipped.root, "earlier_selfplay@a")


def test_the_last_generation_has_the_names_that_one_alone_has() -> None:
    settings = GenerationSettings(earlier={"a": FIRST}, start="a")
    assert stage_of("selfplay", []) == ("selfplay", None)
    assert (generation(settings, None).start, generation(settings, None).model) == ("a", "final")
    assert stage_of("selfplay", ["a"]) == ("earlier_selfplay@a", "a")
    assert (generation(settings, "a").start, generation(settings, "a").model) == (FIRST, "a")
