"""Register, gate, promote: what is done with a finished model.

Takes the project's paths and an open registry; gives a `Version`, a `GateResult`, a `PromotionDecision`. Every step may
be repeated: the same payload is the same version, the same decision is made once. Does not train or evaluate; how a
champion is played on the present problems is passed in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.evaluation.gate import decide
from components.evaluation.rows import EvalRow
from components.evaluation.settings import GateSettings
from components.records.codec import from_json, to_json
from components.records.jsonl import read_records
from components.records.manifest import verify_manifest
from components.schema.report import GateResult, PromotionDecision
from flows.shared.faults import UserFault
from flows.shared.git import read_commit
from flows.shared.inputs import dvc_hash
from flows.shared.paths import Paths
from flows.shared.registry import DIGEST_TAG, Registry, Version
from flows.shared.registry_settings import RegistrySettings

EvaluateChampion = Callable[[Path, str, Collection[str]], Path]
"""Folder and digest of a champion, and ids of test problems, to the file of its rows on them."""


class NotPromotable(UserFault):
    """A version lacks what a promotion needs."""


def lock_digest(paths: Paths) -> str:
    """sha256 of `dvc.lock`: the state of all data and models."""
    return hashlib.sha256(paths.dvc_lock.read_bytes()).hexdigest() if paths.dvc_lock.is_file() else "none"


def register(paths: Paths, registry: Registry, settings: RegistrySettings, *, flow_run_id: str) -> Version:
    """The version of the payload; made if these very weights were never registered."""
    folder = paths.root / settings.payload
    digest = verify_manifest(folder)
    known = registry.find_version(digest)
    if known is not None:
        return known
    tags = lineage_tags(paths, digest=digest, flow_run_id=flow_run_id)
    version = registry.register(folder, run_id=_lineage_run(paths, registry, settings), tags=tags)
    registry.set_alias(settings.aliases.challenger, version.number)
    return version


def lineage_tags(paths: Paths, *, digest: str, flow_run_id: str) -> dict[str, str]:
    """What leads from a version back to data, code and run."""
    commit = read_commit(paths.root)
    tracked = {"annotations": paths.annotations, "problems": paths.all_problems, "corpus": paths.corpus}
    hashes = {f"data.{name}.md5": dvc_hash(path) for name, path in tracked.items() if path.exists()}
    return {
        DIGEST_TAG: digest,
        "git.sha": commit.sha,
        "git.dirty": str(commit.dirty).lower(),
        "dvc.lock.sha256": lock_digest(paths),
        "prefect.flow_run_id": flow_run_id,
        **hashes,
    }


def gate(
    paths: Paths,
    registry: Registry,
    settings: RegistrySettings,
    thresholds: GateSettings,
    version: Version,
    *,
    evaluate_champion: EvaluateChampion,
) -> GateResult:
    """The verdict over `version` against the champion on the same problems; the first of all meets the clone."""
    rows = read_records(paths.evaluation_rows, EvalRow)
    ours = rows_of_policy(rows, settings.challenger_policy)
    champion = registry.alias(settings.aliases.champion)
    if champion is None:
        name, theirs = settings.first_champion_policy, rows_of_policy(rows, settings.first_champion_policy)
    elif champion.digest == version.digest:
        return unchanged(version)
    else:
        name = f"version {champion.number}"
        played = frozenset(row.problem_id for row in ours)
        theirs = read_records(evaluate_champion(registry.folder(champion), champion.digest, played), EvalRow)
    return decide(ours, theirs, thresholds, challenger=f"version {version.number}", champion=name)


def rows_of_policy(rows: Sequence[EvalRow], policy: str) -> tuple[EvalRow, ...]:
    """The rows of one policy; an evaluation without them is an error."""
    found = tuple(row for row in rows if row.policy == policy)
    if not found:
        raise NotPromotable(f"the evaluation has no rows of policy {policy!r}")
    return found


def unchanged(version: Version) -> GateResult:
    """The verdict over the champion itself."""
    name = f"version {version.number}"
    return GateResult("reject", "These weights are the champion already.", name, name, {})


def promote(
    paths: Paths, registry: Registry, settings: RegistrySettings, version: Version, verdict: GateResult
) -> PromotionDecision:
    """Move the alias if the verdict says so, tag the version, and keep the decision for this state of `dvc.lock`."""
    aliases = settings.aliases
    champion = registry.alias(aliases.champion)
    promoted = verdict.decision == "promote"
    if promoted:
        _require_tags(version, settings.required_tags)
        # two calls cannot be one: `previous` first, so that a crash between them loses no way back
        if champion is not None and champion.number != version.number:
            registry.set_alias(aliases.previous, champion.number)
        registry.set_alias(aliases.champion, version.number)
        registry.delete_alias(aliases.challenger)
    if verdict.challenger != verdict.champion:
        registry.tag_version(version.number, _verdict_tags(verdict, champion))
    decision = PromotionDecision(registry.model, version.number, promoted, aliases.champion, verdict)
    write_decision(paths, decision)
    return decision


def read_decision(paths: Paths) -> PromotionDecision | None:
    """The decision taken for the present `dvc.lock`; None when none was taken yet."""
    file = paths.decision(lock_digest(paths))
    return from_json(PromotionDecision, json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def write_decision(paths: Paths, decision: PromotionDecision) -> None:
    """Keep the decision for the present `dvc.lock`."""
    file = paths.decision(lock_digest(paths))
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(to_json(decision), indent=2) + "\n", encoding="utf-8")
    temporary.replace(file)


def _lineage_run(paths: Paths, registry: Registry, settings: RegistrySettings) -> str:
    """The run that made the payload; a new one when this store does not know it (outputs that DVC brought back)."""
    reference: dict[str, Any] = json.loads((paths.root / settings.lineage_run).read_text(encoding="utf-8"))
    run_id = str(reference["mlflow_run_id"])
    if registry.has_run(run_id):
        return run_id
    made = registry.open_run("register", run_id=None, tags={"original.run_id": run_id})
    registry.close_run(made, status="FINISHED")
    return made


def _require_tags(version: Version, required: Sequence[str]) -> None:
    missing = [name for name in required if not version.tags.get(name)]
    if missing:
        raise NotPromotable(f"version {version.number} lacks the tags {', '.join(missing)}")


def _verdict_tags(verdict: GateResult, champion: Version | None) -> Mapping[str, str]:
    parent = {"parent.version": champion.number} if champion is not None else {}
    return {"gate.decision": verdict.decision, "gate.reason": verdict.reason[:4900], **parent}
