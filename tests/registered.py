"""What tests of promotion share: projects with a real MLflow store, payloads, rows of evaluations, and verbs that
another process can run and die in."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Collection
from pathlib import Path
from typing import Any

from components.evaluation.rows import EvalRow
from components.evaluation.settings import GateSettings
from components.records.jsonl import write_records
from components.records.manifest import write_manifest
from components.schema.report import GateResult, PromotionDecision
from flows.shared import by_hand, promotion
from flows.shared.ledger import Ledger
from flows.shared.paths import Paths
from flows.shared.promoting import Desk, Told
from flows.shared.registry import Registry, Version
from flows.shared.registry_settings import RegistrySettings
from flows.shared.review import write_review

SETTINGS = RegistrySettings(required_tags=("git.sha", "payload.sha256", "data.annotations.md5"))
GATE = GateSettings(resamples=500)


def open_desk(root: Path, model: str, **settings: Any) -> Desk:
    """A desk over MLFLOW_TRACKING_URI's store, with a ledger of its own."""
    paths = Paths(root)
    chosen = SETTINGS.model_copy(update={"model": model, **settings})
    desk = Desk(
        paths, chosen, Registry(paths, experiment="test", model=model), Ledger(f"sqlite:///{paths.ledger_db}", model)
    )
    desk.ledger.found(None, "")
    return desk


def train(desk: Desk, weights: str) -> None:
    """What the stages would leave: a payload, its lineage and the annotations."""
    paths, folder = desk.paths, desk.paths.root / desk.settings.payload
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(weights)
    write_manifest(folder)
    run_id = desk.registry.open_run("distil", run_id=None, tags={})
    desk.registry.close_run(run_id, status="FINISHED")
    reference = paths.root / desk.settings.lineage_run
    reference.parent.mkdir(parents=True, exist_ok=True)
    reference.write_text(json.dumps({"mlflow_run_id": run_id}))
    paths.annotations.mkdir(exist_ok=True)
    (paths.annotations / "a.jsonl").write_text("{}\n")
    paths.dvc_lock.write_text(json.dumps({"weights": weights}))


def register(desk: Desk, weights: str, *, verdict: str = "promote") -> Version:
    """A registered version with this payload and its gate's word on it."""
    train(desk, weights)
    version = promotion.register(desk, flow_run_id="flow-1")
    desk.registry.tag_version(version.number, {"gate.decision": verdict})
    return desk.registry.version(version.number)


def rows(policy: str, share: float) -> list[EvalRow]:
    common: dict[str, Any] = {"slices": (), "calls": 1, "cost": 1.0, "attempts": 1, "invalid": 0, "answer": "x"}
    return [
        EvalRow(policy=policy, problem_id=f"p{i}", group=f"g{i}", success=i < share * 100, decision="search", **common)
        for i in range(100)
    ]


def evaluate(desk: Desk, **shares: float) -> None:
    """An evaluation in which each policy gets this share right."""
    desk.paths.evaluation.mkdir(parents=True, exist_ok=True)
    write_records(desk.paths.evaluation_rows, [row for policy, share in shares.items() for row in rows(policy, share)])


def plays(desk: Desk, share: float) -> promotion.EvaluateChampion:
    """A champion that gets this share right."""

    def play(folder: Path, digest: str, ids: Collection[str]) -> Path:
        write_records(desk.paths.root / "champion.jsonl", rows("champion", share))
        return desk.paths.root / "champion.jsonl"

    return play


def never(folder: Path, digest: str, ids: Collection[str]) -> Path:
    raise AssertionError("there is no champion to play")


def decide(desk: Desk, evaluate_champion: promotion.EvaluateChampion = never) -> PromotionDecision:
    """Register, gate, review, promote: as the flow does."""
    version = promotion.register(desk, flow_run_id="flow-1")
    verdict, compared = promotion.gate(desk, GATE, version, evaluate_champion=evaluate_champion)
    version = write_review(desk, version, verdict, compared, GATE)
    return promotion.promote(desk, version, verdict)


def better_than(champion: str, version: Version) -> GateResult:
    """A verdict that promotes."""
    return GateResult("promote", "better", f"version {version.number}", champion, {})


# --- what another process does


def die(arrow: str) -> Told:
    """A listener that ends its process, as `kill -9` does, when it is told of `arrow`."""

    def told(heard: str) -> None:
        if heard == arrow:
            os.kill(os.getpid(), signal.SIGKILL)

    return told


class DiesBetweenAliases(Registry):
    """A registry whose process is killed right after the alias `previous` was moved."""

    def set_alias(self, alias: str, number: str) -> None:
        super().set_alias(alias, number)
        if alias == "previous":
            os.kill(os.getpid(), signal.SIGKILL)


def promote_and_die(root: str, uri: str, model: str, number: str, arrow: str) -> None:
    """Promote a version in this process, which does not survive `arrow`."""
    os.environ["MLFLOW_TRACKING_URI"] = uri
    desk = open_desk(Path(root), model)
    if arrow == "between the aliases":
        registry = DiesBetweenAliases(desk.paths, experiment="test", model=model)
        desk = Desk(desk.paths, desk.settings, registry, desk.ledger)
    by_hand.promote_version(desk, number, reason="crash test", by=f"killed at {arrow}", told=die(arrow))


def promote_at_once(root: str, uri: str, model: str, number: str, gun: Any, results: Any) -> None:
    """Promote a version that beat version 1 when the other process does the same."""
    os.environ["MLFLOW_TRACKING_URI"] = uri
    desk = open_desk(Path(root), model)
    version = desk.registry.version(number)
    gun.wait(60)
    try:
        promotion.promote(desk, version, better_than("version 1", version), by=f"process of {number}")
        results.put((number, "won"))
    except Exception as error:  # noqa: BLE001 - whatever it says is what is tested
        results.put((number, str(error)))
