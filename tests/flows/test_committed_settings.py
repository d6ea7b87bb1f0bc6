"""The settings files of this repository are those that a fresh clone starts with: every one must be valid."""

from __future__ import annotations

from pathlib import Path

import yaml

from flows.shared.operations import Operations, load_operations
from flows.shared.params import load_params
from flows.shared.paths import DAG_FILE, Paths
from flows.shared.registry_settings import load_registry_settings

HERE = Paths(Path(__file__).parents[2])


def test_parameters_are_valid() -> None:
    assert load_params(HERE).profile == "demo"


def test_operations_are_valid_and_say_what_holds_without_the_file() -> None:
    written = load_operations(HERE)
    assert written.serve.golden
    assert written.model_copy(update={"serve": Operations().serve}) == Operations()
    assert written.serve.model_copy(update={"golden": Operations().serve.golden}) == Operations().serve


def test_settings_of_the_registry_are_valid() -> None:
    assert load_registry_settings(HERE).model


def test_every_yaml_file_of_the_repository_is_readable() -> None:
    files = [HERE.root / DAG_FILE, HERE.operations.parent / "prefect.yaml"]
    assert all(isinstance(yaml.safe_load(file.read_text(encoding="utf-8")), dict) for file in files)
