"""Registering, gating and promoting on a real MLflow store (SQLite)."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import mlflow
import pytest

from components.evaluation.rows import EvalRow
from components.evaluation.settings import GateSettings
from components.records.jsonl import write_records
from components.records.manifest import BadModelFolder, write_manifest
from components.schema.report import GateResult
from flows.shared import promotion
from flows.shared.paths import Paths
from flows.shared.registry import Registry
from flows.shared.registry_settings import RegistrySettings

SETTINGS = RegistrySettings(required_tags=("git.sha", "payload.sha256", "data.annotations.md5"))
GATE = GateSettings(resamples=500)


@pytest.fixture
def registry(project: Paths, request: pytest.FixtureRequest) -> Registry:
    return Registry(project, experiment="test", model=request.node.name)


def _train(project: Paths, registry: Registry, weights: str) -> None:
    """What the stages would leave: a payload, its lineage and the annotations."""
    folder = project.root / SETTINGS.payload
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(weights)
    write_manifest(folder)
    run_id = registry.open_run("distil", run_id=None, tags={})
    registry.close_run(run_id, status="FINISHED")
    reference = project.root / SETTINGS.lineage_run
    reference.parent.mkdir(parents=True, exist_ok=True)
    reference.write_text(json.dumps({"mlflow_run_id": run_id}))
    project.annotations.mkdir(exist_ok=True)
    (project.annotations / "a.jsonl").write_text("{}\n")
    project.dvc_lock.write_text(weights)


def _rows(policy: str, share: float) -> list[EvalRow]:
    common: dict[str, Any] = {"slices": (), "calls": 1, "cost": 1.0, "attempts": 1, "invalid": 0, "answer": "x"}
    return [
        EvalRow(policy=policy, problem_id=f"p{i}", group=f"g{i}", success=i < share * 100, decision="search", **common)
        for i in range(100)
    ]


def _evaluate(project: Paths, **shares: float) -> None:
    project.evaluation.mkdir(parents=True, exist_ok=True)
    write_records(project.evaluation_rows, [row for policy, share in shares.items() for row in _rows(policy, share)])


def _never(folder: Path, digest: str, ids: Collection[str]) -> Path:
    raise AssertionError("there is no champion to play")


def _decide(
    project: Paths, registry: Registry, evaluate: promotion.EvaluateChampion = _never
) -> promotion.PromotionDecision:
    version = promotion.register(project, registry, SETTINGS, flow_run_id="flow-1")
    verdict = promotion.gate(project, registry, SETTINGS, GATE, version, evaluate_champion=evaluate)
    return promotion.promote(project, registry, SETTINGS, version, verdict)


def test_first_model_is_gated_against_the_clone_and_promoted_with_its_lineage(
    project: Paths, registry: Registry
) -> None:
    _train(project, registry, "one")
    _evaluate(project, final=0.9, clone=0.5)
    decision = _decide(project, registry)
    assert decision.promoted
    assert decision.gate.champion == "clone"
    champion = registry.alias("champion")
    assert champion is not None
    assert (registry.folder(champion) / "config.json").read_text() == "one"
    assert champion.tags["prefect.flow_run_id"] == "flow-1"
    assert champion.tags["dvc.lock.sha256"] == promotion.lock_digest(project)
    assert champion.tags["gate.decision"] == "promote"
    assert registry.alias("challenger") is None
    assert promotion.read_decision(project) == decision


def test_same_payload_is_registered_once(project: Paths, registry: Registry) -> None:
    _train(project, registry, "one")
    _evaluate(project, final=0.9, clone=0.5)
    first, second = _decide(project, registry), _decide(project, registry)
    assert len(registry.versions()) == 1
    assert first.version == second.version
    assert not second.promoted
    champion = registry.alias("champion")
    assert champion is not None
    assert champion.tags["gate.decision"] == "promote"


def test_better_challenger_replaces_the_champion_and_leaves_a_way_back(project: Paths, registry: Registry) -> None:
    _train(project, registry, "one")
    _evaluate(project, final=0.6, clone=0.3)
    _decide(project, registry)
    _train(project, registry, "two")
    _evaluate(project, final=0.95)
    played = []

    def play(folder: Path, digest: str, ids: Collection[str]) -> Path:
        played.append(((folder / "config.json").read_text(), len(ids)))
        write_records(project.root / "champion.jsonl", _rows("champion", 0.6))
        return project.root / "champion.jsonl"

    assert _decide(project, registry, play).promoted
    assert played == [("one", 100)]
    champion, previous = registry.alias("champion"), registry.alias("previous")
    assert champion is not None
    assert previous is not None
    assert (champion.number, previous.number) == ("2", "1")
    assert champion.tags["parent.version"] == "1"


def test_worse_challenger_is_registered_but_not_promoted(project: Paths, registry: Registry) -> None:
    _train(project, registry, "one")
    _evaluate(project, final=0.3, clone=0.9)
    decision = _decide(project, registry)
    assert decision.gate.decision == "reject"
    assert registry.alias("champion") is None
    challenger = registry.alias("challenger")
    assert challenger is not None
    assert challenger.tags["gate.decision"] == "reject"


def test_truncated_payload_is_refused_by_name(project: Paths, registry: Registry) -> None:
    _train(project, registry, "one")
    (project.root / SETTINGS.payload / "config.json").write_text("")
    with pytest.raises(BadModelFolder, match=r"config\.json"):
        _decide(project, registry)


def test_version_without_its_lineage_is_not_promoted(project: Paths, registry: Registry) -> None:
    _train(project, registry, "one")
    version = promotion.register(project, registry, SETTINGS, flow_run_id="f")
    strict = SETTINGS.model_copy(update={"required_tags": ("data.moon.md5",)})
    verdict = GateResult("promote", "better", "version 1", "clone", {})
    with pytest.raises(promotion.NotPromotable, match=r"lacks the tags data\.moon\.md5"):
        promotion.promote(project, registry, strict, version, verdict)
    assert registry.alias("champion") is None


def test_plain_mlflow_finds_the_champion_by_its_alias(project: Paths, registry: Registry) -> None:
    _train(project, registry, "one")
    _evaluate(project, final=0.9, clone=0.5)
    _decide(project, registry)
    folder = mlflow.artifacts.download_artifacts(f"models:/{registry.model}@champion")
    assert (Path(folder) / "MANIFEST.json").is_file()
