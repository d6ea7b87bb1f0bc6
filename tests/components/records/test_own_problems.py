"""Problems of one's own: read from files and datasets, every bad row explained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.records.own_problems import BadSource, read_own_problems

GOOD: dict[str, Any] = {
    "prompt": "How far?",
    "answer": "3 km",
    "text": "It is 3 km.",
    "checker": "number",
    "group": "a",
}
BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "no answer": ({"prompt": "a"}, "answer", "is missing"),
    "empty prompt": ({**GOOD, "prompt": " "}, "prompt", "is empty"),
    "number as text": ({**GOOD, "answer": 3}, "answer", "must be text, is a whole number"),
    "unknown field": ({**GOOD, "reference": "b"}, "reference", "is not a field of this kind of row"),
    "unknown checker": ({**GOOD, "checker": "magic"}, "checker.kind", "must be one of 'phrase', 'number'"),
    "foreign setting": ({**GOOD, "checker": {"kind": "phrase", "value": 3}}, "checker.phrase.value", "is not a field"),
    "range": ({**GOOD, "checker": {"kind": "overlap", "minimum_f1": 2}}, "checker.overlap.minimum_f1", "out of range"),
    "no numbers": (
        {**GOOD, "checker": {"kind": "expression", "target": 3}},
        "checker.expression.numbers",
        "is missing",
    ),
    "answer elsewhere": ({**GOOD, "answer": "4 km"}, "answer", "does not occur in text"),
    "budget": ({**GOOD, "budget": {"max_calls": -1}}, "budget.max_calls", "out of range"),
    "aliases": ({**GOOD, "aliases": "b"}, "aliases", "must be a list"),
}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", BAD)
def test_a_bad_row_is_explained_and_no_good_row_is_lost(tmp_path: Path, name: str) -> None:
    row, field, reason = BAD[name]
    batch = read_own_problems([write(tmp_path / "mine.jsonl", row, {**GOOD, "prompt": "And now?"})])
    assert [problem.prompt for problem in batch.problems] == ["And now?"]
    (reject,) = batch.rejects
    assert (reject.file, reject.line, reject.field) == ("mine.jsonl", 1, field)
    assert reason in reject.reason
    assert "Fix:" in reject.reason


def test_what_is_no_json_is_explained(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_bytes(b'{"prompt": \n[1]\n\xff\n' + json.dumps(GOOD).encode())
    batch = read_own_problems([tmp_path / "mine.jsonl"])
    assert [reject.line for reject in batch.rejects] == [1, 2, 3]
    assert len(batch.problems) == 1


def test_a_prompt_is_asked_once_over_all_sources(tmp_path: Path) -> None:
    batch = read_own_problems([write(tmp_path / "a.jsonl", GOOD), write(tmp_path / "b.jsonl", GOOD)])
    assert len(batch.problems) == 1
    assert (batch.rejects[0].file, batch.rejects[0].field) == ("b.jsonl", "prompt")
    assert "a.jsonl:1" in batch.rejects[0].reason


@pytest.mark.parametrize("saved", ["disk", "files"])
def test_a_dataset_gives_the_same_problems_as_the_file(tmp_path: Path, saved: str) -> None:
    from datasets import Dataset, DatasetDict

    rows = [GOOD, {"prompt": "And now?", "answer": "up", "checker": None}, {"prompt": "Bad", "answer": None}]
    expected = read_own_problems([write(tmp_path / "a.jsonl", *rows[:2])]).problems
    columns = [{"text": None, "checker": None, "group": None, **row} for row in rows]
    folder = tmp_path / "set"
    if saved == "disk":
        DatasetDict(train=Dataset.from_list(columns[:1]), test=Dataset.from_list(columns[1:])).save_to_disk(str(folder))
    else:
        folder.mkdir()
        write(folder / "train.jsonl", *columns)
    batch = read_own_problems([folder])
    if saved == "files":
        assert batch.problems == expected
    assert [problem.prompt for problem in batch.problems] == ["How far?", "And now?"]
    assert [(reject.file, reject.line, reject.field) for reject in batch.rejects] == [("set", 3, "answer")]


def test_a_source_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match=r"nowhere: no such file, and no dataset that can be read"):
        read_own_problems([tmp_path / "nowhere"])
