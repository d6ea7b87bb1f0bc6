"""The doors: what comes in is checked and explained; pages of other sites get nowhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from annotating import case, workplace, written
from starlette.testclient import TestClient

from components.annotation.app import make_app
from components.annotation.guard import BODY_LIMIT
from components.annotation.workplace import Workplace
from components.records.intake import Added

HERE = "http://127.0.0.1:4300"
ROW = {
    "kind": "pair",
    "annotation_id": "h1",
    "prompt": "?",
    "annotator": "a",
    "created": "2026-01-31T12:00:00Z",
    "reference": {"text": "It is 4.", "answer": "4"},
}


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return workplace(tmp_path, [case()])


@pytest.fixture
def told() -> list[Added]:
    return []


@pytest.fixture
def client(place: Workplace, told: list[Added]) -> Iterator[TestClient]:
    with TestClient(make_app(place, after=told.append), base_url=HERE) as client:
        yield client


def _lines(*rows: Any) -> bytes:
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows).encode()


def test_good_rows_are_added_and_bad_ones_explained_with_line_and_field(
    client: TestClient, place: Workplace, told: list[Added]
) -> None:
    bad = {**ROW, "annotation_id": "h2", "reference": {"text": "It is 5.", "answer": "4"}}
    answer = client.post("/annotations", content=_lines(ROW, "{", bad))
    assert answer.status_code == 422
    assert answer.json()["added"] == ["h1"]
    assert [(one["line"], one["field"]) for one in answer.json()["rejects"]] == [(2, ""), (3, "reference.answer")]
    assert [row.annotation_id for row in written(place)] == ["h1"]
    assert [added.added for added in told] == [("h1",)]


def test_rows_that_are_known_change_nothing_and_nobody_is_told(client: TestClient, told: list[Added]) -> None:
    client.post("/annotations", content=_lines(ROW))
    answer = client.post("/annotations", content=_lines({**ROW, "annotation_id": "again"}))
    assert (answer.status_code, answer.json()["known"]) == (200, 1)
    assert len(told) == 1


def _work(**change: Any) -> dict[str, Any]:
    results = [{"from_name": "tool:search", "type": "textarea", "value": {"text": ['{"query": "Chad"}']}}]
    return {"completed_by": 7, "created_at": "2026-01-31T12:00:00Z", "result": results, **change}


def test_label_studio_export_and_webhook_say_the_same(client: TestClient, place: Workplace) -> None:
    task = {"id": 3, "data": {"prompt": "How large is Chad?"}}
    event = {"action": "ANNOTATION_CREATED", "task": task, "annotation": _work(), "project": {"id": 1}}
    hooked = client.post("/label-studio", json=event)
    assert (hooked.status_code, len(hooked.json()["added"])) == (200, 1)
    exported = client.post("/label-studio", json=[{**task, "annotations": [_work()]}])
    assert exported.json()["known"] == 1
    assert [row.annotator for row in written(place)] == ["label-studio/7"]


@pytest.mark.parametrize(
    ("body", "place_of_fault"),
    [(b"nonsense", "body"), (b'{"action": "TASKS_CREATED"}', "task"), (b'[{"id": 1}]', "0.data")],
)
def test_what_label_studio_did_not_send_is_explained(client: TestClient, body: bytes, place_of_fault: str) -> None:
    answer = client.post("/label-studio", content=body)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(place_of_fault)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"host": "evil.example:4300"},
    ],
)
def test_pages_of_other_sites_may_not_post(client: TestClient, place: Workplace, headers: dict[str, str]) -> None:
    assert client.post("/annotations", content=_lines(ROW), headers=headers).status_code == 403
    assert written(place) == ()


def test_a_name_that_was_made_to_point_here_reads_nothing(client: TestClient) -> None:
    assert client.get("/queue", headers={"host": "evil.example:4300"}).status_code == 403
    assert client.get("/queue", headers={"host": "localhost:4300"}).status_code == 200


def test_every_page_forbids_content_from_elsewhere(client: TestClient) -> None:
    policy = client.get("/").headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_a_body_without_end_is_cut_off(client: TestClient) -> None:
    assert client.post("/annotations", content=b"x" * (BODY_LIMIT + 1)).status_code == 413


def test_only_the_two_files_are_served(client: TestClient) -> None:
    assert client.get("/static/keys.js").status_code == 200
    assert client.get("/static/case.html.j2").status_code == 404
    assert client.get("/static/..%2fapp.py").status_code == 404


def test_a_case_needs_a_name_and_an_unknown_case_is_told(client: TestClient) -> None:
    one = case().case_id
    assert client.get(f"/cases/{one}", follow_redirects=False).headers["location"] == "/"
    assert client.get("/next", follow_redirects=False).headers["location"] == "/"
    assert client.get("/cases/unknown").status_code == 404
    assert client.post("/sign-in", data={"name": " "}).status_code == 422


def test_a_refused_entry_shows_what_is_wrong_and_keeps_what_was_entered(client: TestClient, place: Workplace) -> None:
    client.post("/sign-in", data={"name": "Ada Ünal"})
    entered = {"verdict": "correct", "call0": "python", "call0.python.code": "", "answer": "kept <b>"}
    answer = client.post(f"/cases/{case().case_id}", data=entered)
    assert answer.status_code == 422
    assert "steps[0].arguments.code" in answer.text
    assert "kept &lt;b&gt;" in answer.text
    assert client.post(f"/cases/{case().case_id}", data={"verdict": "dance"}).status_code == 422
    assert written(place) == ()


def test_the_annotator_is_who_signed_in(client: TestClient, place: Workplace) -> None:
    client.post("/sign-in", data={"name": "Ada  Ünal"})
    client.post(f"/cases/{case().case_id}", data={"verdict": "accept"})
    assert [row.annotator for row in written(place)] == ["Ada Ünal"]
