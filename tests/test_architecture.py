"""Rules of the tree that no linter knows."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from import_closure import ROOT, import_closure, sections_read

from flows.shared.params import SECTIONS

WRITTEN: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
STAGES: dict[str, Any] = {name: stage.get("do", stage) for name, stage in WRITTEN.items()}
"""Stages, and templates of stages, by name."""


def module_of(stage: str) -> str:
    """The entry point, as the command names it."""
    words: list[str] = STAGES[stage]["cmd"].split()
    assert words[:2] == ["python", "-m"]
    return words[2]


def test_mlflow_folder_holds_no_python() -> None:
    assert not [path for path in (ROOT / "mlflow").rglob("*") if path.suffix in {".py", ".pyc", ".so"}]


def test_tests_hold_no_packages() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_every_package_is_shipped() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for folder in ("flows", "components")
        for file in (ROOT / folder).rglob("__init__.py")
    }
    assert set(listed) == found


def test_import_contracts_name_every_house() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c.get("containers") == ["components"])
    named = {house.strip(" ()") for layer in layers for house in layer.split("|")}
    houses = {path.stem for path in (ROOT / "components").iterdir() if path.stem[0] not in "_."}
    assert houses <= named
    forbidden = {module for c in contracts for module in c.get("forbidden_modules", ())}
    assert {"prefect", "mlflow", "dvc"} <= forbidden


def test_components_know_neither_clock_nor_environment_and_do_not_print() -> None:
    for file in sorted((ROOT / "components").rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        for word in ("import time", "from time import", "os.environ", "os.getenv", "print("):
            used = [line for line in text.splitlines() if word in line and _is_code(line, word)]
            assert not used, f"{file.relative_to(ROOT)}: {used}"


def _is_code(line: str, word: str) -> bool:
    before = line.split(word)[0]
    return not any(mark in before for mark in ("#", '"', "'", "`")) and not before[-1:].isidentifier()


@pytest.mark.parametrize("stage", STAGES)
def test_stage_depends_on_all_the_code_it_imports(stage: str) -> None:
    files = import_closure(module_of(stage))
    for section in sections_read(files):
        files |= import_closure(SECTIONS[section][0])
    deps = [Path(dep) for dep in STAGES[stage]["deps"]]
    missing = sorted(file for file in files if not any(Path(file).is_relative_to(dep) for dep in deps))
    assert not missing, f"dvc.yaml, stage {stage}: add to deps:\n" + "\n".join(f"      - {file}" for file in missing)


@pytest.mark.parametrize("stage", STAGES)
def test_stage_depends_on_no_code_it_does_not_import(stage: str) -> None:
    files = import_closure(module_of(stage))
    for section in sections_read(files):
        files |= import_closure(SECTIONS[section][0])
    code = [Path(dep) for dep in STAGES[stage]["deps"] if not dep.startswith("data/") and dep != "own"]
    idle = [str(dep) for dep in code if not any(Path(file).is_relative_to(dep) for file in files)]
    assert not idle


@pytest.mark.parametrize("stage", STAGES)
def test_stage_that_opens_own_tools_or_reads_own_data_runs_again_when_they_change(stage: str) -> None:
    opens = {"flows/shared/tools.py", "flows/shared/own_data.py"} & import_closure(module_of(stage))
    assert ("own" in STAGES[stage]["deps"]) == bool(opens)


@pytest.mark.parametrize("stage", STAGES)
def test_stage_lists_the_parameters_it_reads(stage: str) -> None:
    listed = set(STAGES[stage]["params"])
    assert listed == sections_read(import_closure(module_of(stage))) | {"profile", "seed"}


@pytest.mark.parametrize("stage", STAGES)
def test_stage_leaves_its_lineage(stage: str) -> None:
    name = f"{stage}@${{key}}" if "foreach" in WRITTEN[stage] else stage
    assert f"data/reports/runs/{name}.json" in STAGES[stage]["outs"]


def test_every_section_of_the_parameters_is_read_by_a_stage() -> None:
    assert set(SECTIONS) == {name for stage in STAGES.values() for name in stage["params"]} - {"profile", "seed"}
