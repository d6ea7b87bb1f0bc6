"""Problems are files that `datasets` reads."""

import json
from pathlib import Path

import pytest
from doubles import make_problem

from components.records.jsonl import BadRecord
from components.records.problems import as_dataset, from_dataset, problem_row, read_problems, write_problems
from components.schema.problem import CheckerSpec, Nesting

PROBLEMS = (
    make_problem(),
    make_problem("How many?", "12", checker=CheckerSpec("number", {"value": 12, "relative_tolerance": 0.01})),
    make_problem(
        "Make 24.", "4*6", checker=CheckerSpec("expression", {"numbers": [4, 6], "target": 24}), family="puzzle"
    ),
)


def test_problems_survive_the_file_and_the_dataset(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    write_problems(path, PROBLEMS)
    assert read_problems(path) == PROBLEMS
    assert from_dataset(as_dataset(path)) == PROBLEMS


def test_limits_of_nesting_survive_the_dataset_beside_problems_that_have_none(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    mixed = (*PROBLEMS, make_problem("Nested?", nesting=Nesting(depth=1, dynamic=False)))
    write_problems(path, mixed)
    assert read_problems(path) == mixed
    assert from_dataset(as_dataset(path)) == mixed


def test_load_dataset_reads_the_same_rows_with_the_same_types(tmp_path: Path) -> None:
    from datasets import load_dataset

    path = tmp_path / "train.jsonl"
    write_problems(path, PROBLEMS)
    loaded = load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert from_dataset(loaded) == PROBLEMS
    assert loaded.features["facts"].dtype == "string"
    assert set(loaded.column_names) == set(as_dataset(path).column_names)


def test_free_form_text_that_is_not_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({**problem_row(PROBLEMS[0]), "facts": "{"}))
    with pytest.raises(BadRecord, match=r"x\.jsonl:1 facts: must be JSON text"):
        read_problems(path)
