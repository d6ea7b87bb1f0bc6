"""Annotations taken in: whole or not at all, never twice, however many add at once and whoever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from components.records.annotations import read_annotations
from components.records.intake import Added, Intake, add_files, count_rows
from components.records.label_studio import BadExport, parse_export
from components.tools.spec import KNOWN_SPECS

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    return Intake(tmp_path / "annotations", tmp_path / "scratch")


def _row(number: int, **change: Any) -> dict[str, Any]:
    reference = {"text": f"It is {number}.", "answer": str(number)}
    who = {"annotator": "a", "created": "2026-01-31T12:00:00Z"}
    return {"kind": "pair", "annotation_id": f"i{number}", "prompt": "?", "reference": reference, **who, **change}


def _file(tmp_path: Path, *rows: Any, name: str = "new.jsonl") -> Path:
    path = tmp_path / name
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def _add(intake: Intake, *files: Path) -> Added:
    return add_files(intake, files, tools=KNOWN_SPECS)


def _ids(intake: Intake) -> list[str]:
    batch = read_annotations(intake.folder, tools=KNOWN_SPECS)
    assert not batch.rejects
    return [row.annotation_id for row in batch.annotations]


def test_good_rows_are_kept_and_bad_ones_go_to_quarantine_with_the_reason(intake: Intake, tmp_path: Path) -> None:
    added = _add(intake, _file(tmp_path, _row(1), "{", _row(2, kind="dance"), _row(3)))
    assert _ids(intake) == ["i1", "i3"]
    assert [(reject.line, reject.field) for reject in added.rejects] == [(2, ""), (3, "kind")]
    assert added.quarantine is not None
    assert len(added.quarantine.read_text().splitlines()) == 2


def test_adding_the_same_row_again_changes_nothing_even_under_another_id(intake: Intake, tmp_path: Path) -> None:
    _add(intake, _file(tmp_path, _row(1), _row(2)))
    again = _add(intake, _file(tmp_path, _row(1), _row(2, annotation_id="other")))
    assert (again.added, again.known, again.rejects, again.file) == ((), 2, (), None)
    assert _ids(intake) == ["i1", "i2"]


def test_an_id_that_names_another_annotation_is_refused(intake: Intake, tmp_path: Path) -> None:
    _add(intake, _file(tmp_path, _row(1)))
    added = _add(intake, _file(tmp_path, _row(2, annotation_id="i1"), _row(3)))
    assert added.added == ("i3",)
    assert [reject.field for reject in added.rejects] == ["annotation_id"]


def test_a_file_that_was_dropped_into_the_folder_counts_as_known(intake: Intake, tmp_path: Path) -> None:
    intake.folder.mkdir()
    dropped = _file(intake.folder, _row(1), "not JSON", name="dropped.jsonl")
    assert _add(intake, _file(tmp_path, _row(1))).known == 1
    dropped.write_text("")
    assert _add(intake, _file(tmp_path, _row(1))).added == ("i1",)


def test_what_a_killed_writer_left_half_written_never_becomes_an_annotation(intake: Intake, tmp_path: Path) -> None:
    incoming = intake.scratch / "incoming"
    incoming.mkdir(parents=True)
    (incoming / "batch-x.jsonl").write_text('{"kind": "pa')
    _add(intake, _file(tmp_path, _row(1)))
    assert _ids(intake) == ["i1"]
    assert list(incoming.iterdir()) == []


WRITER = """\
import sys
from pathlib import Path
from components.records import intake
from components.schema.annotation import Pair
where, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
store = intake.Intake(where / "annotations", where / "scratch")
for number in range(count):
    row = {"kind": "pair", "annotation_id": f"{name}-{number}", "prompt": "?", "annotator": name,
           "created": "2026-01-31T12:00:00Z", "reference": {"text": f"It is {number}.", "answer": str(number)}}
    intake.add(store, [Pair.model_validate(row)])
    print(f"{name}-{number}", flush=True)
"""


def test_eight_writers_at_once_and_one_killed_lose_double_and_spoil_nothing(intake: Intake, tmp_path: Path) -> None:
    """The benchmark does the same with 1,000 annotations."""
    each = 12
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), f"w{number}", str(each)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for number in range(8)
    ]
    victim = writers[3]
    assert victim.stdout is not None
    first = victim.stdout.readline()
    victim.send_signal(signal.SIGKILL)
    told = [line for writer in writers for line in writer.communicate()[0].split()] + first.split()
    counts = Counter(_ids(intake))
    assert set(told) <= set(counts)
    assert set(counts.values()) == {1}
    assert len(set(counts) - set(told)) <= 1, "only the row that the killed writer was at may be there untold"
    assert [writer.returncode for writer in writers].count(0) == 7


def test_rows_are_counted_over_all_files(intake: Intake, tmp_path: Path) -> None:
    assert count_rows(intake.folder) == 0
    _add(intake, _file(tmp_path, _row(1), _row(2)))
    _add(intake, _file(tmp_path, _row(3)))
    assert count_rows(intake.folder) == 3


# --- Label Studio -----------------------------------------------------------------------------------------------------


def _task(*results: tuple[str, str, Any], **work: Any) -> dict[str, Any]:
    found = [
        {"from_name": name, "to_name": "prompt", "id": "x", "type": kind, "value": {value_key(kind): value}}
        for name, kind, value in results
    ]
    done = {"id": 9, "completed_by": {"id": 1, "email": "ann@example.org"}, "created_at": "2026-01-31T12:00:00.123456Z"}
    return {
        "id": 7,
        "data": {"prompt": "What is the capital of Chad?"},
        "annotations": [{**done, "result": found, **work}],
    }


def value_key(kind: str) -> str:
    return "choices" if kind == "choices" else "text"


SEARCH = '{"query": "capital Chad"}'
EXPORTS = {
    "demonstration": _task(("tool:search", "textarea", [SEARCH]), ("answer", "textarea", ["N'Djamena"])),
    "no tool needed": _task(("no_tool", "choices", ["yes"]), ("answer", "textarea", ["Hello"])),
    "pair": _task(("reference", "textarea", ["It is N'Djamena."]), ("key", "textarea", ["N'Djamena"])),
    "preference": _task(
        ("chosen", "textarea", ['{"tool": "search", "arguments": {"query": "Chad"}}']),
        ("rejected", "textarea", ["I do not know"]),
    ),
}


@pytest.mark.parametrize("name", EXPORTS)
def test_label_studio_work_of_every_kind_becomes_a_good_row(name: str, intake: Intake, tmp_path: Path) -> None:
    rows = parse_export(json.dumps([EXPORTS[name]]))
    assert len(_add(intake, _file(tmp_path, *rows)).added) == 1
    assert rows[0]["annotator"] == "label-studio/ann@example.org"
    assert parse_export(json.dumps([EXPORTS[name]])) == rows


def test_cancelled_work_is_left_out_and_broken_arguments_are_explained(intake: Intake, tmp_path: Path) -> None:
    tasks = [_task(("answer", "textarea", ["x"]), was_cancelled=True), _task(("tool:search", "textarea", ["capital"]))]
    (row,) = parse_export(json.dumps(tasks))
    added = _add(intake, _file(tmp_path, row))
    assert [reject.field for reject in added.rejects] == ["steps[0].arguments"]


def test_a_file_of_another_form_is_refused_with_the_place() -> None:
    with pytest.raises(BadExport, match=r"0\.data\.prompt: Field required"):
        parse_export('[{"id": 1, "data": {}, "annotations": []}]')
