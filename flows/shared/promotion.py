"""Register, gate, promote: what is done with a finished model.

Takes a desk; gives a `Version`, a `GateResult`, a `PromotionDecision`. Every step may be repeated: the same payload is
the same version and the same look, the same decision is made once. Does not train or evaluate; how a champion is played
on the present problems is passed in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.evaluation.gate import decide, problem_set
from components.evaluation.rows import EvalRow
from components.evaluation.settings import GateSettings
from components.records.codec import to_json
from components.records.jsonl import read_records
from components.records.manifest import verify_manifest
from components.schema.report import GateResult, PromotionDecision
from flows.shared.by_hand import NotPromotable, evidence_of, require_tags, start
from flows.shared.decisions import lock_digest, write_decision
from flows.shared.environ import actor
from flows.shared.git import read_commit
from flows.shared.inputs import dvc_hash
from flows.shared.ledger import PromotionLost
from flows.shared.ledger_records import Intent
from flows.shared.paths import Paths
from flows.shared.promoting import QUARANTINED, Desk, drift, in_words
from flows.shared.registry import DIGEST_TAG, Version
from flows.shared.signatures import require_signature, signature_tags

EvaluateChampion = Callable[[Path, str, Collection[str]], Path]
"""Folder and digest of a champion, and ids of test problems, to the file of its rows on them."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What a verdict rests on."""

    challenger: tuple[EvalRow, ...]
    champion: tuple[EvalRow, ...]


def register(desk: Desk, *, flow_run_id: str) -> Version:
    """The version of the payload; made if these very weights were never registered."""
    folder = desk.paths.root / desk.settings.payload
    digest = verify_manifest(folder)
    known, signed = desk.registry.find_version(digest), signature_tags(desk.paths, desk.settings, digest)
    if known is not None:
        desk.registry.tag_version(known.number, signed)
        return desk.registry.version(known.number) if signed else known
    tags = {**lineage_tags(desk.paths, digest=digest, flow_run_id=flow_run_id), **signed}
    version = desk.registry.register(folder, run_id=_lineage_run(desk), tags=tags)
    desk.registry.set_alias(desk.settings.aliases.challenger, version.number)
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
    desk: Desk, thresholds: GateSettings, version: Version, *, evaluate_champion: EvaluateChampion
) -> tuple[GateResult, Compared | None]:
    """The verdict over `version` against the champion on the same problems; the first of all meets the clone.

    With it the rows it rests on; None where nothing was compared.
    """
    settings, champion = desk.settings, desk.champion()
    if champion is not None and champion.digest == version.digest:
        return rejected(version, champion, "These weights are the champion already."), None
    if QUARANTINED in version.tags:
        reason = f"Version {version.number} is quarantined ({version.tags[QUARANTINED]})."
        return rejected(version, champion, reason), None
    rows = read_records(desk.paths.evaluation_rows, EvalRow)
    ours = rows_of_policy(rows, settings.challenger_policy)
    if champion is None:
        name, key = settings.first_champion_policy, settings.first_champion_policy
        theirs = rows_of_policy(rows, settings.first_champion_policy)
    else:
        name, key = named(champion), champion.digest
        played = frozenset(row.problem_id for row in ours)
        file = evaluate_champion(desk.registry.folder(champion), champion.digest, played)
        theirs = tuple(read_records(file, EvalRow))
    look = desk.ledger.look(champion=key, problems=problem_set(ours), challenger=version.digest)
    student = tuple(row for row in rows if row.policy == settings.student_policy)
    verdict = decide(
        ours, theirs, thresholds, challenger=named(version), champion=name, look=look, student_rows=student
    )
    return verdict, Compared(ours, theirs)


def rows_of_policy(rows: Sequence[EvalRow], policy: str) -> tuple[EvalRow, ...]:
    """The rows of one policy; an evaluation without them is an error."""
    found = tuple(row for row in rows if row.policy == policy)
    if not found:
        raise NotPromotable(f"the evaluation has no rows of policy {policy!r}")
    return found


def rejected(version: Version, champion: Version | None, reason: str) -> GateResult:
    """A verdict without a comparison."""
    return GateResult("reject", reason, named(version), named(champion) if champion else "none", {})


def named(version: Version) -> str:
    """A version as verdicts name it."""
    return f"version {version.number}"


def promote(desk: Desk, version: Version, verdict: GateResult, *, by: str | None = None) -> PromotionDecision:
    """Promote through the ledger if the verdict says so, and keep the decision for this state of `dvc.lock`."""
    promotion_id = ""
    if verdict.decision == "promote":
        require_tags(version, desk.settings.required_tags)
        require_signature(version, desk.settings)
        moved = drift(desk)
        if moved is not None:
            raise NotPromotable(moved)
        ended = start(desk, _intent(desk, version, verdict, by or actor()), lambda arrow: None)
        if ended.state != "DONE":
            raise PromotionLost(in_words("promote", ended))
        promotion_id = ended.promotion_id
    promoted = bool(promotion_id)
    alias = desk.settings.aliases.champion
    decision = PromotionDecision(desk.registry.model, version.number, promoted, alias, verdict, promotion_id)
    write_decision(desk.paths, decision)
    return decision


def _intent(desk: Desk, version: Version, verdict: GateResult, by: str) -> Intent:
    """To replace the champion that the gate compared with, and no other."""
    source = verdict.champion.removeprefix("version ") if verdict.champion.startswith("version ") else None
    evidence = {**evidence_of(desk.registry.version(version.number)), "gate": to_json(verdict)}
    return Intent("promote", source, version.number, version.digest, by, verdict.reason, source, evidence=evidence)


def _lineage_run(desk: Desk) -> str:
    """The run that made the payload; a new one when this store does not know it (outputs that DVC brought back)."""
    file = desk.paths.root / desk.settings.lineage_run
    reference: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    run_id = str(reference["mlflow_run_id"])
    if desk.registry.has_run(run_id):
        return run_id
    made = desk.registry.open_run("register", run_id=None, tags={"original.run_id": run_id})
    desk.registry.close_run(made, status="FINISHED")
    return made
