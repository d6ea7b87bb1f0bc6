"""What people bring is found where DVC sees it change, and its faults are told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.tools.spec import KNOWN_SPECS
from flows.shared.own_data import read_own
from flows.shared.params import BadParams, load_params
from flows.shared.paths import Paths
from flows.shared.tools import specs_of_tools

ROW = '{"prompt": "How far?", "answer": "3 km"}\n'
SERVICE = """
tools:
  own:
    http:
      - function: {name: weather, description: Gives the weather., parameters: {type: object}}
        url: https://api.example/
        headers: {Authorization: "Bearer ${QANAT_TEST_KEY}"}
prices: {tools: {weather: {money: 0, seconds: 0.1}}}
"""


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path)
    made.own.mkdir()
    made.params.write_text("seed: 1\n")
    return made


def test_files_below_own_and_annotations_are_read(paths: Paths) -> None:
    paths.annotations.mkdir(parents=True)
    (paths.own / "a.jsonl").write_text(ROW)
    (paths.annotations / "b.jsonl").write_text(ROW.replace("far", "long"))
    found = read_own(paths, ["own/a.jsonl", "data/annotations/b.jsonl"])
    assert [problem.prompt for problem in found.problems] == ["How far?", "How long?"]


@pytest.mark.parametrize("source", ["elsewhere.jsonl", "own/../elsewhere.jsonl"])
def test_a_file_whose_changes_nobody_would_see_is_refused(paths: Paths, source: str) -> None:
    (paths.root / "elsewhere.jsonl").write_text(ROW)
    with pytest.raises(BadParams, match=r"^params\.yaml: curate\.sources: .* must lie below own/ or data/annotations/"):
        read_own(paths, [source])


def test_without_own_tools_there_are_the_known_ones(paths: Paths) -> None:
    assert specs_of_tools(paths, load_params(paths)) == KNOWN_SPECS


def test_a_secret_comes_from_the_environment_and_is_in_no_parameter(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths.params.write_text(SERVICE)
    with pytest.raises(BadParams, match=r"^params\.yaml: tools\.own names the environment variable QANAT_TEST_KEY"):
        specs_of_tools(paths, load_params(paths))
    monkeypatch.setenv("QANAT_TEST_KEY", "s3cret-value")
    params = load_params(paths)
    assert [spec.name for spec in specs_of_tools(paths, params)] == ["search", "python", "weather"]
    assert "s3cret-value" not in str(params.raw(("tools",))) + params.tools.model_dump_json()


def test_a_function_outside_own_is_told_in_one_line(paths: Paths) -> None:
    paths.params.write_text("tools: {own: {functions: ['shutil:rmtree']}}\n")
    with pytest.raises(BadParams) as caught:
        specs_of_tools(paths, load_params(paths))
    assert str(caught.value).startswith(
        "params.yaml: tools.own.functions: shutil:rmtree: shutil is not in the folder own/"
    )
    assert "\n" not in str(caught.value)
