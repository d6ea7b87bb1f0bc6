"""No bad annotation row loses a good one, and each is explained."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.records.annotations import read_annotations, write_annotations
from components.records.jsonl import read_records
from components.records.quarantine import Reject, format_rejects, write_quarantine
from components.tools.spec import KNOWN_SPECS

WHO = {"annotator": "seed", "created": "2026-01-31T12:00:00Z"}
SEARCH = {"tool": "search", "arguments": {"query": "capital Chad"}}
DEMONSTRATION: dict[str, Any] = {
    "kind": "demonstration",
    "annotation_id": "d",
    "prompt": "What is the capital of Chad?",
    "steps": [SEARCH],
    "answer": None,
    "reference": {"text": "It is N'Djamena.", "answer": "N'Djamena", "aliases": ["Ndjamena"]},
    **WHO,
}
PREFERENCE: dict[str, Any] = {
    "kind": "preference",
    "annotation_id": "p",
    "prompt": "Hello!",
    "steps": [],
    "chosen": {"answer": "Hello."},
    "rejected": SEARCH,
    "confidence": 0.9,
    **WHO,
}
PAIR: dict[str, Any] = {
    "kind": "pair",
    "annotation_id": "i",
    "prompt": "2 + 2?",
    "reference": {"text": "It is 4.", "answer": "4"},
    **WHO,
}
GOOD = (DEMONSTRATION, PREFERENCE, PAIR)


def row(base: dict[str, Any], **change: Any) -> bytes:
    return json.dumps({**base, "annotation_id": "bad", **change}).encode()


def step(tool: str, **arguments: Any) -> list[dict[str, Any]]:
    return [{"tool": tool, "arguments": arguments}]


BAD_ROWS = {
    "broken JSON": (b'{"kind": "demon', "", "not valid JSON at column 10"),
    "unknown field": (row(DEMONSTRATION, colour=1), "colour", "is not a field of this kind"),
    "unknown kind": (row(DEMONSTRATION, kind="wish"), "kind", "must be one of 'demonstration', 'preference', 'pair'"),
    "no kind": (b"{}", "kind", "must be one of"),
    "unknown tool": (row(DEMONSTRATION, steps=step("browse")), "steps[0].tool", "no tool 'browse'. Fix: use one of"),
    "wrong argument type": (
        row(DEMONSTRATION, steps=step("search", query=3)),
        "steps[0].arguments.query",
        "must be text, is number",
    ),
    "unknown argument": (
        row(DEMONSTRATION, steps=step("search", query="a", k=3)),
        "steps[0].arguments.k",
        "is not an argument of search(query)",
    ),
    "missing argument": (row(PREFERENCE, chosen=step("python")[0]), "chosen.arguments.code", "is missing"),
    "empty argument": (row(DEMONSTRATION, steps=step("search", query=" ")), "steps[0].arguments.query", "is empty"),
    "empty text": (row(DEMONSTRATION, prompt=" \n"), "prompt", "is empty"),
    "empty answer": (row(PREFERENCE, chosen={"answer": ""}), "chosen.answer", "is empty"),
    "mistyped": (row(DEMONSTRATION, prompt=None), "prompt", "must be text, is null"),
    "missing field": (row({k: v for k, v in PAIR.items() if k != "reference"}), "reference", "is missing"),
    "out of range": (row(PREFERENCE, confidence=0.2), "confidence", "is out of range"),
    "same action twice": (row(PREFERENCE, chosen=SEARCH), "rejected", "the same action as chosen"),
    "answer not in text": (row(PAIR, reference={"text": "a", "answer": "b"}), "reference.answer", "does not occur in"),
    "not a date": (row(PAIR, created="soon"), "created", "must be a date and time"),
    "a number as a date": (row(PAIR, created=5), "created", "must be a date and time"),
    "duplicate id": (row(PAIR, annotation_id="d"), "annotation_id", "'d' was already used at seed.jsonl:1"),
    "invalid UTF-8": (b'{"kind": "\xff"}', "", "not valid UTF-8 at byte 10"),
    "half a character": (row(PAIR, prompt="\ud800"), "", "half a surrogate pair"),
    "10 MB line": (b'{"kind": "' + b"x" * 10_000_000 + b'"}', "", "longer than 1000000 bytes"),
    "deep nesting": (b"[" * 200_000, "", "cannot be read"),
    "infinity": (row(PAIR).replace(b'"i"', b"1e999").replace(b'"bad"', b"1e999"), "", "infinite"),
    "huge number": (b'{"kind": ' + b"9" * 5000 + b"}", "", "cannot be read"),
    "NaN": (b'{"kind": NaN}', "", "NaN is not JSON"),
    "repeated key": (b'{"kind": "pair", "kind": "pair"}', "", "'kind' occurs twice"),
    "not an object": (b"[1]", "", "must be an object, is a list"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_is_explained_and_no_good_row_is_lost(tmp_path: Path, name: str) -> None:
    bad, field, reason = BAD_ROWS[name]
    first, *others = (json.dumps(good).encode() for good in GOOD)
    (tmp_path / "seed.jsonl").write_bytes(b"\n".join([first, bad, *others]))
    batch = read_annotations(tmp_path, tools=KNOWN_SPECS)
    assert [a.annotation_id for a in batch.annotations] == ["d", "p", "i"]
    found = batch.rejects[0]
    assert (found.file, found.line, found.field) == ("seed.jsonl", 2, field)
    assert reason in found.reason
    assert "Fix: " in found.reason
    assert len(found.text) <= 200


def test_a_reject_reads_like_a_place_in_a_file() -> None:
    reject = Reject(
        "seed.jsonl", 17, "steps[0].arguments.query", "must be text, is number. Fix: see search(query)", "{"
    )
    assert format_rejects([reject]) == [
        "seed.jsonl:17 steps[0].arguments.query: must be text, is number. Fix: see search(query)"
    ]


def test_ids_are_unique_over_all_files_and_order_is_stable(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text(json.dumps(PAIR) + "\n" + json.dumps(PREFERENCE))
    (tmp_path / "a.jsonl").write_text(json.dumps(PAIR))
    (tmp_path / "notes.txt").write_text("not an annotation file")
    batch = read_annotations(tmp_path, tools=KNOWN_SPECS)
    assert [a.annotation_id for a in batch.annotations] == ["i", "p"]
    assert [(r.file, r.line) for r in batch.rejects] == [("b.jsonl", 1)]


def test_annotations_and_quarantine_survive_a_file(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, GOOD)) + "\r\n\n{\n")
    batch = read_annotations(tmp_path / "in.jsonl", tools=KNOWN_SPECS)
    write_annotations(tmp_path / "out.jsonl", batch.annotations)
    assert read_annotations(tmp_path / "out.jsonl", tools=KNOWN_SPECS).annotations == batch.annotations
    write_quarantine(tmp_path / "quarantine.jsonl", batch.rejects)
    assert read_records(tmp_path / "quarantine.jsonl", Reject) == batch.rejects
    assert len(batch.rejects) == 1


def test_a_source_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_annotations(tmp_path / "nowhere", tools=KNOWN_SPECS)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_give_rejects_and_never_an_exception(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("any") / "seed.jsonl"
    path.write_bytes(b"\n".join([*lines, json.dumps(PAIR).encode()]))
    assert len(read_annotations(path, tools=KNOWN_SPECS).annotations) == 1
