"""The annotation page over a real project: its queue is what the stages left, its rows are versioned by DVC."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml
from doubles import call_action, make_problem, text_action
from starlette.testclient import TestClient

from components.records.annotations import read_annotations
from components.records.feedback import Feedback, append_feedback
from components.records.jsonl import write_records
from components.records.problems import write_problems
from components.schema.annotation import Demonstration
from components.schema.cost import Cost
from components.schema.message import ToolResult
from components.schema.trajectory import Outcome, StopReason, Trajectory, Transition
from components.tools.spec import KNOWN_SPECS
from flows.annotate import open_app, open_workplace
from flows.shared.paths import Paths

PROBLEM = replace(make_problem(), split="train")


def _play(decision: str, reward: float) -> Trajectory:
    result = ToolResult("a page on Chad", is_error=False, cost=Cost(calls=1, seconds=0.4, money=0.002))
    first = text_action("Yes.") if decision == "answer" else call_action("search", query="Chad")
    steps = (Transition(first, () if decision == "answer" else (result,), result.cost, reward),)
    outcome = Outcome(StopReason.ANSWERED, "Yes.", reward > 0, Cost())
    return Trajectory(decision, PROBLEM.problem_id, "p", 0, steps, outcome, (decision,))


def _tracked(paths: Paths) -> str:
    return str(yaml.safe_load(paths.annotations.with_suffix(".dvc").read_text())["outs"][0]["md5"])


def test_what_stages_left_is_annotated_versioned_and_struck_off_the_queue(project: Paths) -> None:
    (project.annotations / "a.jsonl").unlink()
    write_problems(project.problems("train"), [PROBLEM])
    write_records(project.rollouts, [_play("answer", 0.1), _play("search", 0.2)])
    with TestClient(open_app(project), base_url="http://127.0.0.1") as client:
        assert client.get("/health").json() == {"cases": 1}
        page = client.post("/sign-in", data={"name": "Ada"})
        assert "a page on Chad" in page.text
        assert "What went best" in page.text
        done = client.post(str(page.url), data={"verdict": "accept"})
        assert "Nothing is left for you, Ada" in done.text
        first = _tracked(project)
        said = {"feedback_id": "f", "response_id": "r", "thumbs": "down", "created_at": "2026-01-31T12:00:00Z"}
        words = {"question": "Who was it?", "answer": "Nobody."}
        append_feedback(project.feedback, Feedback.model_validate(said | words))
        assert "A user said no" in client.get("/next").text  # new evidence is seen without a restart
        row = {"kind": "pair", "annotation_id": "h", "prompt": "?", "annotator": "b", "created": "2026-01-31T12:00:00Z"}
        sent = client.post("/annotations", json={**row, "reference": {"text": "It is 4.", "answer": "4"}})
        assert sent.json()["added"] == ["h"]
    assert _tracked(project) != first
    batch = read_annotations(project.annotations, tools=KNOWN_SPECS)
    assert not batch.rejects
    (demonstration,) = (row for row in batch.annotations if isinstance(row, Demonstration))
    assert [step.tool for step in demonstration.steps] == ["search"]


def test_a_project_without_evidence_has_an_empty_queue(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("profile: demo\nseed: 0\n")
    place = open_workplace(Paths(tmp_path))
    assert place.queue() == ()
    assert place.standing().agreements == ()
    assert place.next_case("Ada") is None
