"""Faults of the parameter file are told in one line that names file, key and value."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.shared.params import PROFILES, BadParams, check_params, load_params, set_profile
from flows.shared.paths import NoProject, Paths, find_root

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    return Paths(tmp_path)


def _write(paths: Paths, text: str) -> None:
    paths.params.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("profile", PROFILES)
def test_shipped_parameters_are_valid_under_every_profile(paths: Paths, profile: str) -> None:
    _write(paths, (REPOSITORY / "params.yaml").read_text())
    set_profile(paths, profile)
    assert check_params(paths).profile == profile


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clone: {learning_rate: -1}", "params.yaml: clone.learning_rate: must be > 0, is -1"),
        ("clone: {steps: two}", "params.yaml: clone.steps: must be a whole number, is 'two'"),
        ("clone: {stesp: 2}", "params.yaml: clone.stesp: unknown key (did you mean 'steps'?)"),
        ("cloen: {}", "params.yaml: cloen: unknown section (did you mean 'clone'?)"),
        ("clone: 3", "params.yaml: clone: must be a mapping, is 3"),
        ("profile: big", "params.yaml: profile: must be one of demo, full, smoke, is 'big'"),
        ("seed: -1", "params.yaml: seed: must be a whole number >= 0, is -1"),
        ("clone: {steps: {full: 2}}", "params.yaml: clone.steps: has no value for profile 'demo'"),
        ("clone: {steps: [", "params.yaml: not readable as YAML"),
        (
            "policy: {backend: vllm}",
            "params.yaml: policy.vllm_url: must be the server's address when policy.backend is vllm",
        ),
        ("policy: {vllm_url: here:8000}", "params.yaml: policy.vllm_url: must start with http:// or https://"),
        ("tools: {engine: fuzzy}", "params.yaml: tools.engine: must be 'natural' or 'strict', is 'fuzzy'"),
    ],
)
def test_fault_names_file_key_and_value(paths: Paths, text: str, message: str) -> None:
    _write(paths, text)
    with pytest.raises(BadParams) as caught:
        check_params(paths)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_all_faults_are_told_at_once(paths: Paths) -> None:
    _write(paths, "clone: {steps: 0}\nreinforce: {steps: 0}\n")
    with pytest.raises(BadParams) as caught:
        check_params(paths)
    assert len(str(caught.value).splitlines()) == 2


def test_gate_thresholds_come_from_the_registry_file(paths: Paths) -> None:
    _write(paths, "seed: 1\n")
    paths.registry.parent.mkdir()
    paths.registry.write_text("gate: {slice_margin: 7}\n")
    with pytest.raises(BadParams, match=r"mlflow/registry\.yaml: gate\.slice_margin: must be <= 1"):
        check_params(paths)


def test_value_of_the_profile_is_taken_at_any_depth(paths: Paths) -> None:
    prices = "prices: {tools: {search: {money: {smoke: 1}, seconds: 2}}}"
    _write(paths, f"profile: smoke\nclone: {{steps: {{demo: 9, smoke: 2}}}}\n{prices}\n")
    params = load_params(paths)
    assert params.clone.steps == 2
    assert params.prices.tools["search"].money == 1


def test_setting_the_profile_changes_that_line_only(paths: Paths) -> None:
    _write(paths, "# mine\nprofile: demo  # here\nseed: 3\n")
    assert set_profile(paths, "full")
    assert paths.params.read_text() == "# mine\nprofile: full  # here\nseed: 3\n"
    assert not set_profile(paths, "full")


def test_outside_a_project_the_message_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoProject, match=r"no dvc\.yaml in"):
        find_root(tmp_path)
