"""Registering, gating and promoting on a real MLflow store (SQLite)."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import mlflow
import pytest
import yaml
from registered import GATE, better_than, decide, evaluate, never, open_desk, plays, rows, train

from components.records.jsonl import write_records
from components.records.manifest import BadModelFolder
from flows.shared import promotion
from flows.shared.by_hand import NotPromotable
from flows.shared.conditions import OtherConditions, check_conditions
from flows.shared.decisions import lock_digest, read_decision
from flows.shared.paths import Paths
from flows.shared.promoting import Desk


@pytest.fixture
def desk(project: Paths, request: pytest.FixtureRequest) -> Desk:
    return open_desk(project.root, request.node.name)


def test_first_model_is_gated_against_the_clone_and_promoted_with_its_lineage(desk: Desk) -> None:
    train(desk, "one")
    evaluate(desk, final=0.9, clone=0.5)
    decision = decide(desk)
    assert decision.promoted
    assert decision.gate.champion == "clone"
    champion = desk.champion()
    assert champion is not None
    assert (desk.registry.folder(champion) / "config.json").read_text() == "one"
    assert champion.tags["prefect.flow_run_id"] == "flow-1"
    assert champion.tags["dvc.lock.sha256"] == lock_digest(desk.paths)
    assert champion.tags["gate.decision"] == "promote"
    assert champion.tags["promotion.id"] == decision.promotion_id
    assert desk.registry.alias("challenger") is None
    assert read_decision(desk.paths) == decision


def test_same_payload_is_registered_once(desk: Desk) -> None:
    train(desk, "one")
    evaluate(desk, final=0.9, clone=0.5)
    first, second = decide(desk), decide(desk)
    assert len(desk.registry.versions()) == 1
    assert first.version == second.version
    assert not second.promoted
    champion = desk.champion()
    assert champion is not None
    assert champion.tags["gate.decision"] == "promote"


def test_better_challenger_replaces_the_champion_and_leaves_a_way_back(desk: Desk) -> None:
    train(desk, "one")
    evaluate(desk, final=0.6, clone=0.3)
    decide(desk)
    train(desk, "two")
    evaluate(desk, final=0.95)
    played = []

    def play(folder: Path, digest: str, ids: Collection[str]) -> Path:
        played.append(((folder / "config.json").read_text(), len(ids)))
        write_records(desk.paths.root / "champion.jsonl", rows("champion", 0.6))
        return desk.paths.root / "champion.jsonl"

    assert decide(desk, play).promoted
    assert played == [("one", 100)]
    champion, previous = desk.champion(), desk.registry.alias("previous")
    assert champion is not None
    assert previous is not None
    assert (champion.number, previous.number) == ("2", "1")
    assert champion.tags["parent.version"] == "1"


def test_worse_challenger_is_registered_but_not_promoted(desk: Desk) -> None:
    train(desk, "one")
    evaluate(desk, final=0.3, clone=0.9)
    decision = decide(desk)
    assert decision.gate.decision == "reject"
    assert desk.champion() is None
    challenger = desk.registry.alias("challenger")
    assert challenger is not None
    assert challenger.tags["gate.decision"] == "reject"
    assert desk.ledger.entries() == ()


def test_looks_are_counted_against_the_same_champion_and_problems(desk: Desk) -> None:
    for place, weights in enumerate(("one", "two", "two"), start=1):
        train(desk, weights)
        evaluate(desk, final=0.5, clone=0.5)
        assert decide(desk).gate.look == min(place, 2)
    train(desk, "three")
    evaluate(desk, final=0.95, clone=0.5)
    third = decide(desk)
    assert (third.gate.look, third.promoted) == (3, True)
    train(desk, "four")
    evaluate(desk, final=0.95)
    assert decide(desk, plays(desk, 0.95)).gate.look == 1


def test_student_of_the_same_compute_must_be_beaten_where_it_was_played(desk: Desk) -> None:
    train(desk, "one")
    evaluate(desk, final=0.9, clone=0.5, student=0.9)
    decision = decide(desk)
    assert decision.gate.decision == "inconclusive"
    assert "matched-compute student" in decision.gate.reason


def test_truncated_payload_is_refused_by_name(desk: Desk) -> None:
    train(desk, "one")
    (desk.paths.root / desk.settings.payload / "config.json").write_text("")
    with pytest.raises(BadModelFolder, match=r"config\.json"):
        decide(desk)


def test_version_without_its_lineage_is_not_promoted(desk: Desk, project: Paths) -> None:
    train(desk, "one")
    strict = open_desk(project.root, desk.registry.model, required_tags=("data.moon.md5",))
    version = promotion.register(strict, flow_run_id="f")
    with pytest.raises(NotPromotable, match=r"lacks the tags data\.moon\.md5"):
        promotion.promote(strict, version, better_than("clone", version))
    assert strict.champion() is None


def test_plain_mlflow_finds_the_champion_by_its_alias(desk: Desk) -> None:
    train(desk, "one")
    evaluate(desk, final=0.9, clone=0.5)
    decide(desk)
    folder = mlflow.artifacts.download_artifacts(f"models:/{desk.registry.model}@champion")
    assert (Path(folder) / "MANIFEST.json").is_file()


def test_reviewer_finds_verdict_lineage_and_both_sides_in_mlflow(desk: Desk) -> None:
    train(desk, "one")
    evaluate(desk, final=0.9, clone=0.5)
    decide(desk)
    client = mlflow.MlflowClient()
    version = client.get_model_version_by_alias(desk.registry.model, "champion")
    assert "**promote**: version 1 against clone" in version.description
    assert "| invalid calls | holds |" in version.description
    assert f"| git.sha | `{version.tags['git.sha']}` |" in version.description
    sides = [client.get_run(version.tags[f"gate.run.{role}"]) for role in ("challenger", "champion")]
    assert [side.data.metrics["eval/accuracy"] for side in sides] == [0.9, 0.5]
    report = client.download_artifacts(version.run_id, "gate.json")
    assert json.loads(Path(report).read_text())["decision"] == "promote"
    train(desk, "one")
    assert decide(desk, never).gate.decision == "reject"
    assert client.get_model_version(desk.registry.model, "1").tags["gate.decision"] == "promote"


def test_evaluation_of_other_tools_or_seeds_is_not_compared_with(desk: Desk) -> None:
    params = {"tools": {"k": 2}, "seed": 0}
    stage = {"outs": [{"path": "data/reports/evaluation"}], "params": {"params.yaml": params}}
    desk.paths.dvc_lock.write_text(yaml.safe_dump({"stages": {"evaluate": stage}}))
    desk.paths.params.write_text(yaml.safe_dump(params))
    check_conditions(desk.paths)
    desk.paths.params.write_text(yaml.safe_dump({"tools": {"k": 3}, "seed": 0}))
    with pytest.raises(OtherConditions, match=r"params\.yaml: tools changed since the evaluation"):
        check_conditions(desk.paths)


def test_gate_settings_are_those_that_the_tests_mean() -> None:
    assert (GATE.looks, GATE.spending) == (10, "pocock")
