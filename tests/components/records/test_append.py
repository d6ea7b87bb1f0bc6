"""Lines that many add: none is lost or mixed, a cut-off one swallows nobody, an id leads to its response."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from components.records.append import append_line, read_lines
from components.records.feedback import Feedback, append_feedback, read_feedback
from components.records.responses import ServedResponse, append_response, find_response

WRITER = """
import sys
from pathlib import Path
from components.records.append import append_line
for number in range(200):
    append_line(Path(sys.argv[1]), {"writer": sys.argv[2], "number": number, "text": "x" * (number * 37 % 5000)})
"""
RESPONSE = ServedResponse(
    "chatcmpl-1", "2026-11-22T10:00:00.000+00:00", "qanat", "12", "ab" * 32, "champion", "stop", "answered",
    ("search", "answer"), 1, 0.4, 0.002, 1.0, 20, 10, 0.5,
)  # fmt: skip
FEEDBACK = Feedback(feedback_id="f1", response_id="chatcmpl-1", thumbs="up", created_at="2026-11-22T10:00:00+00:00")


def test_lines_of_several_processes_never_mix(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "lines.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(file), str(name)]) for name in range(4)]
    assert [writer.wait() for writer in writers] == [0, 0, 0, 0]
    found = [(row["writer"], row["number"], len(row["text"])) for row in read_lines(file)]
    assert sorted(found) == sorted((str(w), n, n * 37 % 5000) for w in range(4) for n in range(200))


def test_a_line_that_was_cut_off_is_left_out_and_swallows_no_other(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    append_line(file, {"n": 1})
    with file.open("a") as stream:
        stream.write('{"n": 2, "te')
    assert [row["n"] for row in read_lines(file)] == [1]
    append_line(file, {"n": 3})
    assert [row["n"] for row in read_lines(file)] == [1, 3]


def test_a_response_is_found_by_its_id_whatever_its_day(tmp_path: Path) -> None:
    other = replace(RESPONSE, response_id="chatcmpl-2", at="2026-11-23T10:00:00.000+00:00", question="?", answer=None)
    for response in (RESPONSE, other):
        append_response(tmp_path, response)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "responses-2026-11-22.jsonl", "responses-2026-11-23.jsonl",
    ]  # fmt: skip
    assert find_response(tmp_path, "chatcmpl-1") == RESPONSE
    assert find_response(tmp_path, "chatcmpl-2") == other
    assert find_response(tmp_path, "chatcmpl-3") is None
    assert find_response(tmp_path / "nowhere", "chatcmpl-1") is None


def test_feedback_is_read_as_it_was_written_and_strange_or_cut_lines_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "feedback.jsonl"
    append_feedback(file, FEEDBACK)
    append_line(file, {"feedback_id": "f2", "thumbs": "sideways"})
    append_feedback(file, FEEDBACK.model_copy(update={"feedback_id": "f3", "correction": "N'Djamena"}))
    with file.open("a") as stream:
        stream.write('{"feedback_id": "f9", "thu')
    read = read_feedback(file)
    assert [one.feedback_id for one in read.rows] == ["f1", "f3"]
    assert read.unreadable == 2
    assert read_feedback(tmp_path / "none.jsonl").rows == ()


def test_feedback_has_thumbs_up_or_down() -> None:
    with pytest.raises(ValidationError, match="thumbs"):
        Feedback(feedback_id="f", response_id="r", thumbs="maybe", created_at="now")  # type: ignore[arg-type]
