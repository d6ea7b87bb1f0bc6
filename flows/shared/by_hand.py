"""What a person does with the champion: promote a version, roll back, put things right, look back.

Takes a desk; gives how the promotion ended, or lines for a person. Every verb first finishes what a dead process left
half done. Does not gate: it goes by the gate's word on the version.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from components.records.manifest import verify_manifest
from flows.shared.environ import actor
from flows.shared.faults import UserFault
from flows.shared.ledger_records import Entry, Intent
from flows.shared.notices import tell
from flows.shared.notify import Notice
from flows.shared.promoting import QUARANTINED, Desk, Ended, Told, carry_out, drift, in_words
from flows.shared.registry import Version
from flows.shared.signatures import require_signature

APPROVAL = "approval"
"""Tag of a version: who approved or rejected it and why, or who did without."""


class NotPromotable(UserFault):
    """A version lacks what a promotion needs."""


def promote_version(
    desk: Desk,
    number: str,
    *,
    reason: str,
    by: str | None = None,
    force: bool = False,
    now: bool = False,
    told: Told = lambda arrow: None,
) -> Ended:
    """Make a registered version champion; without `force` only one that its gate let through and nobody quarantined.

    Where approval is required it must have it, or `now` and a name: who did without it is on the version for good.
    """
    carry_out(desk, wait=False)
    version = _version(desk, number)
    named, on_record = desk.champion(), desk.ledger.champion()
    moved = drift(desk)
    if moved is not None and (named is None or named.number != number):
        raise UserFault(moved)
    if on_record == number:
        raise UserFault(f"version {number} is champion already")
    require_tags(version, desk.settings.required_tags)
    if not force:
        _require_good(version)
    _verify(desk, version)
    if _lacks_approval(desk, version):
        version = _without_approval(desk, version, reason=reason, by=by, now=now)
    intent = Intent(
        kind="promote",
        source=on_record,
        target=number,
        digest=version.digest,
        by=by or actor(),
        reason=reason,
        fallback=on_record,
        force=force,
        evidence=evidence_of(version),
    )
    ended = start(desk, intent, told)
    if ended.state == "DONE":
        (desk.paths.approvals / f"{number}.jsonl").unlink(missing_ok=True)  # its verdict waits no more
    return ended


def rollback(
    desk: Desk, *, reason: str, to: str | None = None, by: str | None = None, told: Told = lambda arrow: None
) -> Ended:
    """The last good champion (or `to`) again; the present one is quarantined."""
    carry_out(desk, wait=False)
    moved = drift(desk)
    if moved is not None:
        raise UserFault(moved)
    present = desk.ledger.champion()
    if present is None:
        raise UserFault("there is no champion to roll back")
    good = _former_champions(desk, present)
    target = to or (good[0] if good else None)
    if target is None:
        raise UserFault(f"version {present} had no champion before it that is not quarantined: nothing to roll back to")
    if target not in good:
        raise UserFault(f"version {target} was never champion, or is quarantined (good: {', '.join(good) or 'none'})")
    version = _version(desk, target)
    _verify(desk, version)
    older = [number for number in good if number != target]
    intent = Intent(
        kind="rollback",
        source=present,
        target=target,
        digest=version.digest,
        by=by or actor(),
        reason=reason,
        fallback=older[0] if older else None,
        evidence=evidence_of(version),
    )
    ended = start(desk, intent, told)
    _tell_rollback(desk, intent, ended)
    return ended


def reconcile(desk: Desk, *, restore: bool = False) -> list[str]:
    """Finish or abort what is half done, and tell of aliases moved by hand; `restore` moves them back."""
    under_way = desk.ledger.open_promotion()
    ended = carry_out(desk, wait=False)
    lines = []
    if under_way is not None and ended is not None:
        lines.append(in_words(under_way.intent.kind, ended))
        _tell_rollback(desk, under_way.intent, ended)
    moved = drift(desk)
    if moved is None:
        return lines or ["nothing to do: no promotion is half done, and the alias is as the ledger says"]
    if not restore:
        return [*lines, f"drift: {moved}"]
    alias, champion = desk.settings.aliases.champion, desk.ledger.champion()
    if champion is None:
        desk.registry.delete_alias(alias)
    else:
        desk.registry.set_alias(alias, champion)
    return [*lines, f"the alias {alias} names {f'version {champion}' if champion else 'nothing'} again"]


def start(desk: Desk, intent: Intent, told: Told) -> Ended:
    """Record the intent and carry it out; waits for the server where one is configured."""
    previous = desk.registry.alias(desk.settings.aliases.previous)
    before, reports = previous.number if previous else None, desk.ledger.last_report()
    promotion_id = desk.ledger.begin(replace(intent, fallback_before=before, reports_before=reports))
    told("INTENT recorded")
    ended = carry_out(desk, wait=True, told=told)
    if ended is not None and ended.promotion_id == promotion_id:
        return ended
    last = next(entry for entry in reversed(desk.ledger.entries()) if entry.promotion_id == promotion_id)
    return Ended(promotion_id, last.state, str(last.body.get("reason", "")))  # somebody else carried it out


def history_lines(desk: Desk) -> list[str]:
    """Who did what, when, why, and on what evidence; the oldest first."""
    entries = desk.ledger.entries()
    intents = [entry for entry in entries if "target" in entry.body]
    return [line for intent in intents for line in _story(intent, entries)] or ["nothing was promoted yet"]


def faults(desk: Desk) -> tuple[str, ...]:
    """What is wrong with the ledger: its chain of hashes, and what MLflow's tags say of each promotion."""
    known = {entry.promotion_id for entry in desk.ledger.entries()}
    strangers = tuple(
        f"version {version.number} carries promotion {version.tags['promotion.id'][:12]}, unknown to the ledger"
        for version in desk.registry.versions()
        if "promotion.id" in version.tags and version.tags["promotion.id"] not in known
    )
    return (*desk.ledger.faults(), *strangers)


def report_served(desk: Desk, number: str, *, server: str, fault: str | None = None) -> None:
    """A server's word that it answers with this version now; with `fault`, why it keeps the one before."""
    desk.ledger.report_served(number, _version(desk, number).digest, server=server, fault=fault)


def require_tags(version: Version, required: tuple[str, ...]) -> None:
    """Raises `NotPromotable` naming the tags that a promotion needs and the version lacks."""
    missing = [name for name in required if not version.tags.get(name)]
    if missing:
        raise NotPromotable(f"version {version.number} lacks the tags {', '.join(missing)}")


def evidence_of(version: Version) -> dict[str, Any]:
    """The version's lineage and what its gate said, from its tags."""
    return {name: value for name, value in sorted(version.tags.items()) if not name.startswith("promotion.")}


def digest_of(report: Mapping[str, Any]) -> str:
    """sha256 of a report as it is kept."""
    return hashlib.sha256(json.dumps(report, indent=2, sort_keys=True).encode()).hexdigest()


def _tell_rollback(desk: Desk, intent: Intent, ended: Ended) -> None:
    """Those who asked for it hear of a roll-back, whoever finished it."""
    if intent.kind == "rollback" and ended.state == "DONE":
        title = f"version {intent.target} is champion again, version {intent.source} is quarantined"
        tell(desk.paths, Notice("rolled-back", title, f"{intent.by}: {intent.reason}"))


def _lacks_approval(desk: Desk, version: Version) -> bool:
    return desk.settings.approval == "required" and not version.tags.get(APPROVAL, "").startswith("approved")


def _without_approval(desk: Desk, version: Version, *, reason: str, by: str | None, now: bool) -> Version:
    """The version, marked with who promotes it unapproved; `NotPromotable` unless that was asked for by name."""
    if not now or by is None:
        word = version.tags.get(APPROVAL, "nobody has approved it")
        raise NotPromotable(
            f"approval is required (mlflow/registry.yaml), and of version {version.number}: {word}. "
            f"`qanat approve {version.number} --why ...` where its verdict waits; "
            "`--now --by NAME` promotes it all the same and keeps the name"
        )
    desk.registry.tag_version(version.number, {APPROVAL: f"done without by {by}: {reason}"[:4900]})
    return desk.registry.version(version.number)


def _require_good(version: Version) -> None:
    if QUARANTINED in version.tags:
        raise NotPromotable(
            f"version {version.number} is quarantined ({version.tags[QUARANTINED]}): --force promotes it all the same"
        )
    decision = version.tags.get("gate.decision", "none yet")
    if decision != "promote":
        raise NotPromotable(
            f"the gate's word on version {version.number} is {decision}: --force promotes it all the same"
        )


def _former_champions(desk: Desk, present: str) -> list[str]:
    """Versions that were champion, the last first, without the present one, those in quarantine and those gone."""
    entries = desk.ledger.entries()
    targets = {entry.promotion_id: str(entry.body["target"]) for entry in entries if "target" in entry.body}
    reigned = dict.fromkeys(targets[entry.promotion_id] for entry in reversed(entries) if entry.state == "DONE")
    good = {version.number for version in desk.registry.versions() if QUARANTINED not in version.tags}
    return [number for number in reigned if number != present and number in good]


def _version(desk: Desk, number: str) -> Version:
    known = {version.number: version for version in desk.registry.versions()}
    if number not in known:
        raise UserFault(f"{desk.registry.model} has no version {number} (it has {', '.join(known) or 'none'})")
    return known[number]


def _verify(desk: Desk, version: Version) -> None:
    """The payload is whole, the one that was registered, and signed where that is asked for."""
    require_signature(version, desk.settings)
    digest = verify_manifest(desk.registry.folder(version))
    if digest != version.digest:
        raise NotPromotable(
            f"version {version.number} was registered with payload {version.digest[:12]}, but holds {digest[:12]}"
        )


def _story(intent: Entry, entries: tuple[Entry, ...]) -> list[str]:
    told: dict[str, Any] = dict(intent.body)
    own = [entry for entry in entries if entry.promotion_id == intent.promotion_id]
    states = ", ".join(f"{entry.state} {entry.at[11:19]}" for entry in own)
    notes = [str(entry.body[key]) for entry in own for key in ("skipped", "server") if entry.body.get(key)]
    ended = [f"  aborted   {own[-1].body['reason']}"] if own[-1].state == "ABORTED" else []
    proof = told["evidence"]
    return [
        f"{intent.at[:19]}Z  {told['kind']} {told['source'] or '-'} -> {told['target']}  {own[-1].state}  "
        f"{intent.promotion_id[:12]}",
        f"  by        {told['by']}",
        f"  why       {told['reason']}",
        f"  weights   {told['digest'][:12]}",
        *[f"  {name:<9} {proof[key]}" for name, key in _SHOWN if proof.get(key)],
        f"  states    {states}",
        *[f"  served    {note}" for note in notes],
        *ended,
    ]


_SHOWN = (
    ("gate", "gate.decision"),
    ("approval", "approval"),
    ("report", "gate.report.sha256"),
    ("commit", "git.sha"),
    ("dvc.lock", "dvc.lock.sha256"),
    ("flow run", "prefect.flow_run_id"),
)
"""Evidence that is shown, and its name."""
