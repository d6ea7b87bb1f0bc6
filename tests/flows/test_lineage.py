"""Lineage on a real project: stages run by DVC, runs and versions in MLflow, a promotion in the ledger, code in git."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from registered import GATE, never

from flows import lineage
from flows.shared import promotion
from flows.shared.faults import UserFault
from flows.shared.lineage_graph import Item, Lineage, UnknownThing
from flows.shared.lineage_locks import cached
from flows.shared.paths import Paths
from flows.shared.promoting import open_desk
from flows.shared.review import write_review
from flows.shared.tracking import track

ANNOTATION = {
    "kind": "pair",
    "annotation_id": "ada-1",
    "prompt": "How large is Chad?",
    "annotator": "Ada",
    "created": "2026-01-31T12:00:00Z",
    "reference": {"text": "It is large.", "answer": "large"},
}
RESPONSE = {"response_id": "resp-1", "version": "1", "at": "2026-11-22T10:00:00Z", "channel": "champion", "new": 1}


@pytest.fixture(scope="module")
def promoted(shared_project: Paths) -> Paths:
    """The project after `dvc repro`, promotion and one served answer."""
    project = shared_project
    answer = {**ANNOTATION, "annotation_id": "ada-2", "responses": ["resp-0"]}
    (project.annotations / "a.jsonl").write_text(f"{json.dumps(ANNOTATION)}\n{json.dumps(answer)}\n")
    track(project)
    subprocess.run(["dvc", "repro", "-q"], cwd=project.root, check=True)
    desk = open_desk(project)
    version = promotion.register(desk, flow_run_id="flow-7")
    verdict, compared = promotion.gate(desk, GATE, version, evaluate_champion=never)
    version = write_review(desk, version, verdict, compared, GATE)
    assert promotion.promote(desk, version, verdict, by="Bea").promoted
    project.served_responses.mkdir(parents=True)
    log = project.served_responses / "responses-2026-11-22.jsonl"
    log.write_text(
        json.dumps({**RESPONSE, "response_id": "resp-0"}) + "\n" + json.dumps(RESPONSE) + '\n{"response_id": "cut of'
    )
    return project


def _around(paths: Paths, name: str, way: str) -> set[str]:
    graph, item = lineage.trace(paths, name)
    return {step.item.key for step in getattr(graph, way)(item)}


def test_a_served_answer_leads_to_everything_that_it_came_of_and_an_annotation_back_to_it(promoted: Paths) -> None:
    sha = subprocess.run(["git", "rev-parse", "HEAD"], cwd=promoted.root, capture_output=True, text=True).stdout.strip()
    run_id = json.loads(promoted.run_ref("second").read_text())["mlflow_run_id"]
    came_of = _around(promoted, "resp-1", "back")
    assert {"version 1", "gate of version 1", f"run {run_id}", f"commit {sha}", "flow run flow-7"} <= came_of
    files = {key.partition("@")[0] for key in came_of}
    assert {"data data/models/final", "data data/annotations", "file data/annotations/a.jsonl"} <= files
    assert {"data data/second.txt", "data data/first.txt", "data data/source.txt"} <= files
    led_to = _around(promoted, "ada-1", "forth")
    assert {"version 1", "gate of version 1", "response resp-1", "alias champion"} <= led_to
    assert {f"run {run_id}", "version 1"} <= _around(promoted, sha[:8], "forth")
    alias = _around(promoted, "champion", "back")
    assert {key.partition(" ")[0] for key in alias} >= {"promotion", "version", "gate", "run", "data", "commit"}


def test_an_answer_that_a_user_complained_of_leads_to_the_annotation_and_the_model_made_of_it(promoted: Paths) -> None:
    assert {"annotation ada-2", "version 1", "response resp-1"} <= _around(promoted, "resp-0", "forth")
    assert "response resp-0" in _around(promoted, "ada-2", "back")
    assert "annotation ada-1" not in _around(promoted, "resp-0", "forth")


def test_a_thing_is_found_by_every_name_it_has_and_told_in_every_form(promoted: Paths, tmp_path: Path) -> None:
    weights = promoted.root / "data/models/final/config.json"
    md5 = hashlib.md5((promoted.root / "data/first.txt").read_bytes()).hexdigest()
    for name, key in (
        ("1", "version 1"),
        ("version 1", "version 1"),
        (hashlib.sha256(weights.read_bytes()).hexdigest(), "version 1"),
        (promotion.lock_digest(promoted)[:10], "version 1"),
        (md5, f"data data/first.txt@{md5}"),
        ("flow-7", "flow run flow-7"),
    ):
        assert lineage.trace(promoted, name)[1].key == key
    graph, item = lineage.trace(promoted, "ada-1")
    told = "\n".join(lineage.lines(graph, item))
    assert "annotator: Ada" in told
    assert "response resp-1" in told
    value = lineage.as_json(graph, item)
    assert "response resp-1" in value["led_to"]
    assert {link[end] for link in value["links"] for end in ("effect", "cause")} <= set(value["things"])
    page = tmp_path / "lineage.html"
    lineage.write_page(graph, item, page)
    text = page.read_text()
    assert "resp-1" in text
    assert "<svg" in text
    assert "<script" not in text
    with pytest.raises(UserFault, match="names nothing here"):
        lineage.trace(promoted, "nobody")


def test_a_project_in_which_nothing_ran_has_no_lineage_and_none_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Paths(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserFault, match="names nothing"):
        lineage.trace(project, "champion")
    assert lineage.check(project) == (["0 links hold, 0 are broken, 0 cannot be checked any more"], True)
    assert not project.mlflow_db.exists()
    assert not project.ledger_db.exists()


def _edit(file: Path) -> Callable[[], None]:
    """Change one byte; the result changes it back."""
    before, mode = file.read_bytes(), file.stat().st_mode
    file.chmod(0o644)
    file.write_bytes(bytes([before[0] ^ 1]) + before[1:])

    def undo() -> None:
        file.write_bytes(before)
        file.chmod(mode)

    return undo


def test_verify_says_which_link_is_broken(promoted: Paths) -> None:
    lines, whole = lineage.check(promoted)
    assert whole, lines
    assert lines[-1].endswith("hold, 0 are broken, 0 cannot be checked any more")
    desk = open_desk(promoted)
    (version,) = desk.registry.versions()
    payload, root = desk.registry.folder(version), promoted.root
    report = payload.parent / "gate.json"
    for file, told in (
        (root / "data/first.txt", "first -> data/first.txt"),
        (payload / "config.json", "version 1 -> payload"),
        (root / "data/models/final/config.json", "third -> data/models/final"),
        (promoted.annotations / "a.jsonl", ""),  # new annotations are no fault: DVC's cache has the old ones
    ):
        undo = _edit(file)
        lines, whole = lineage.check(promoted)
        undo()
        broken = [line for line in lines if line.startswith("BROKEN")]
        assert whole == (not told), lines
        assert all(told in line for line in broken), lines
    undo = _edit(report)
    assert any("gate's report" in line for line in lineage.check(promoted)[0])
    undo()


def test_verify_sees_an_edited_ledger_lost_annotations_and_a_commit_that_is_not_there(promoted: Paths) -> None:
    desk, ledger = open_desk(promoted), promoted.ledger_db.read_bytes()
    desk.ledger.close()
    tags = desk.registry.version("1").tags
    hidden = cached(promoted, tags["data.annotations.md5"])
    away = hidden.rename(hidden.with_suffix(".away"))
    (promoted.annotations / "a.jsonl").rename(promoted.root / "a.jsonl")
    desk.registry.tag_version("1", {"git.sha": "0" * 40})
    with contextlib.closing(sqlite3.connect(promoted.ledger_db)) as connection, connection:
        connection.execute("UPDATE ledger_entries SET body = replace(body, 'Bea', 'Eve') WHERE number = 1")
    lines, whole = lineage.check(promoted)
    promoted.ledger_db.write_bytes(ledger)
    desk.registry.tag_version("1", {"git.sha": tags["git.sha"]})
    away.rename(hidden)
    (promoted.root / "a.jsonl").rename(promoted.annotations / "a.jsonl")
    assert not whole
    assert [line for line in lines if "row 1 was edited" in line]
    assert [line for line in lines if line.startswith("BROKEN") and "no such commit" in line]
    assert [line for line in lines if line.startswith("GONE") and "data/annotations" in line]
    assert lineage.check(promoted)[1]


# --- the graph --------------------------------------------------------------------------------------------------------


def _toy() -> Lineage:
    """a <- b <- c, a <- c."""
    graph = Lineage()
    a, b, c = (graph.add(Item("run", name)) for name in ("aaaaaa1", "aaaaaa2", "cccccc3"))
    graph.link(b, a)
    graph.link(c, b)
    graph.link(c, a)
    graph.link(c, a)
    return graph


def test_both_ways_reach_everything_once() -> None:
    graph = _toy()
    assert [(s.depth, s.item.name, s.again) for s in graph.back(graph.find("cccccc3"))] == [
        (1, "aaaaaa2", False),
        (2, "aaaaaa1", False),
        (1, "aaaaaa1", True),
    ]
    assert {step.item.name for step in graph.forth(graph.find("aaaaaa1"))} == {"aaaaaa2", "cccccc3"}


def test_a_beginning_that_fits_several_things_is_refused() -> None:
    graph = _toy()
    assert graph.find("cccccc").name == "cccccc3"
    with pytest.raises(UnknownThing, match="several"):
        graph.find("aaaaaa")
    with pytest.raises(UnknownThing, match="nothing"):
        graph.find("ccccc")  # too short to mean anything


def test_what_is_known_of_a_thing_grows_and_is_never_lost() -> None:
    graph = Lineage()
    graph.add(Item("run", "r", {"stage": "clone"}), "other")
    graph.add(Item("run", "r", {"status": "FINISHED"}))
    assert graph.find("other").facts == {"stage": "clone", "status": "FINISHED"}


def test_damaged_records_that_go_in_a_circle_end() -> None:
    graph = _toy()
    graph.link(graph.find("aaaaaa1"), graph.find("cccccc3"))
    assert len(graph.back(graph.find("aaaaaa1"))) >= 2
    assert "<svg" in lineage.render(graph, graph.find("aaaaaa1"))
