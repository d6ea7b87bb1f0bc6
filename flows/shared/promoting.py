"""A promotion carried out, step by step through the ledger, by whoever is there: the one who began it, or `reconcile`.

Takes an open promotion; gives how it ended. Each step's effect may be repeated, so a step that a crash cut off is
simply done again. Aliases that somebody moved by hand are left alone, and told. Does not decide what is promoted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from flows.shared.environ import ledger_uri, tracking_uri
from flows.shared.faults import UserFault
from flows.shared.ledger import Effect, Ledger
from flows.shared.ledger_records import Intent, Open, State, name_of
from flows.shared.paths import Paths
from flows.shared.registry import Registry, Version
from flows.shared.registry_settings import RegistrySettings, load_registry_settings

Told = Callable[[str], None]
"""Is told each arrow: `ALIAS_SET done` when its effect has happened, `ALIAS_SET recorded` when that is on record."""
QUARANTINED = "quarantined"
"""Tag of a version that was rolled back; its value is the reason."""
POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything a promotion is made with."""

    paths: Paths
    settings: RegistrySettings
    registry: Registry
    ledger: Ledger

    def champion(self) -> Version | None:
        """The version that the alias names."""
        return self.registry.alias(self.settings.aliases.champion)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a promotion ended, or that it has not."""

    promotion_id: str
    state: State
    reason: str = ""
    """Why it was aborted, or what it waits for; empty when it is done."""


def open_desk(paths: Paths) -> Desk:
    """The desk of a project; a ledger that is new takes the present champion over."""
    settings = load_registry_settings(paths)
    if ledger_uri(paths) == tracking_uri(paths):
        raise UserFault("QANAT_LEDGER_URI: the ledger needs a database of its own, not the one of MLflow")
    registry = Registry(paths, experiment=settings.experiment, model=settings.model)
    desk = Desk(paths, settings, registry, Ledger(ledger_uri(paths), settings.model))
    champion = desk.champion()
    desk.ledger.found(champion.number if champion else None, champion.digest if champion else "")
    return desk


def carry_out(desk: Desk, *, wait: bool, told: Told = lambda arrow: None) -> Ended | None:
    """Bring the open promotion as far as it goes; None when none is open. `wait` waits for a server's report."""
    while True:
        under_way = desk.ledger.open_promotion()
        if under_way is None:
            return None
        fault = _fault(desk, under_way)
        if fault is not None:
            return _abort(desk, under_way, fault, told)
        if under_way.state == "TAGGED" and not _answered(desk, under_way):
            if not wait:
                return Ended(under_way.promotion_id, "TAGGED", "no server has reported it yet")
            time.sleep(POLL_SECONDS)
            continue
        after, effect = _step(desk, under_way)
        if _advance(desk, under_way, after, effect, told) and after == "DONE":
            return Ended(under_way.promotion_id, "DONE")


def drift(desk: Desk) -> str | None:
    """What somebody did to the champion's alias by hand; None when it is as the ledger says."""
    on_record, named = desk.ledger.champion(), desk.champion()
    if desk.ledger.open_promotion() is not None or (named.number if named else None) == on_record:
        return None
    return (
        f"the alias {desk.settings.aliases.champion} names {name_of(named.number if named else None)}, the ledger says "
        f"{name_of(on_record)}: somebody moved it by hand. `qanat reconcile --restore` moves it back, "
        "`qanat promote VERSION` takes a version over"
    )


def _step(desk: Desk, under_way: Open) -> tuple[State, Effect]:
    """The next state, and what brings it about; effects must not ask the ledger, which is locked while they run."""
    if under_way.state == "INTENT":
        return "ALIAS_SET", lambda: _set_aliases(desk, under_way.intent)
    if under_way.state == "ALIAS_SET":
        return "TAGGED", lambda: _tag(desk, under_way)
    if under_way.state == "TAGGED":
        served = _served(desk, under_way)
        return "SERVED", lambda: served
    return "DONE", lambda: {}


def _advance(desk: Desk, under_way: Open, after: State, effect: Effect, told: Told) -> bool:
    def telling() -> Mapping[str, Any]:
        body = effect()
        told(f"{after} done")
        return body

    advanced = desk.ledger.advance(under_way.promotion_id, under_way.state, after, telling)
    if advanced:
        told(f"{after} recorded")
    return advanced


def _set_aliases(desk: Desk, intent: Intent) -> Mapping[str, Any]:
    # two calls cannot be one: `previous` first, so that a crash between them loses no way back
    aliases = desk.settings.aliases
    _point(desk, aliases.previous, intent.fallback)
    _point(desk, aliases.champion, intent.target)
    challenger = desk.registry.alias(aliases.challenger)
    if challenger is not None and challenger.number == intent.target:
        desk.registry.delete_alias(aliases.challenger)
    return {"champion": intent.target, "previous": intent.fallback}


def _tag(desk: Desk, under_way: Open) -> Mapping[str, Any]:
    intent = under_way.intent
    tags = {
        "promotion.id": under_way.promotion_id,
        "promotion.kind": intent.kind,
        "promotion.by": intent.by,
        "promotion.reason": intent.reason[:4900],
    }
    if intent.source is not None and intent.kind == "promote":
        tags["parent.version"] = intent.source
    desk.registry.tag_version(intent.target, tags)
    desk.registry.untag_version(intent.target, QUARANTINED)
    if intent.kind == "rollback" and intent.source is not None:
        desk.registry.tag_version(intent.source, {QUARANTINED: f"{intent.by}: {intent.reason}"[:4900]})
    return {"tags": tags}


def _served(desk: Desk, under_way: Open) -> Mapping[str, Any]:
    report = desk.ledger.served(under_way.intent)
    if report is not None and report.fault is None:
        return {"server": report.server, "at": report.at}
    if desk.settings.served_within is None:
        return {"skipped": "no server is configured (served_within in mlflow/registry.yaml)"}
    return {"skipped": report.fault if report is not None else _silence(desk)}


def _answered(desk: Desk, under_way: Open) -> bool:
    """True when a server has reported, or none is waited for any longer."""
    return (
        desk.settings.served_within is None
        or desk.ledger.served(under_way.intent) is not None
        or _waited_enough(desk, under_way)
    )


def _waited_enough(desk: Desk, under_way: Open) -> bool:
    return (datetime.now(UTC) - under_way.since).total_seconds() > (desk.settings.served_within or 0)


def _fault(desk: Desk, under_way: Open) -> str | None:
    """Why the promotion must not go on; None when it may."""
    intent = under_way.intent
    target = next((version for version in desk.registry.versions() if version.number == intent.target), None)
    if target is None:
        return f"version {intent.target} is gone"
    if QUARANTINED in target.tags and not intent.force:
        return f"version {intent.target} is quarantined ({target.tags[QUARANTINED]})"
    named = desk.champion()
    if (named.number if named else None) not in {intent.source, intent.target}:
        return f"the alias was moved by hand to {name_of(named.number if named else None)}"
    if under_way.state == "TAGGED" and desk.settings.served_within is not None and intent.kind == "promote":
        report = desk.ledger.served(intent)
        if report is not None and report.fault is not None:
            return f"{report.server} could not serve it: {report.fault}"
        if report is None and _waited_enough(desk, under_way):
            return _silence(desk)
    return None


def _silence(desk: Desk) -> str:
    return f"no server reported it within {desk.settings.served_within:g} s"


def _abort(desk: Desk, under_way: Open, reason: str, told: Told) -> Ended:
    def undo() -> Mapping[str, Any]:
        aliases, intent = desk.settings.aliases, under_way.intent
        champion = desk.champion()
        if champion is not None and champion.number == intent.target != intent.source:
            _point(desk, aliases.champion, intent.source)
            _point(desk, aliases.previous, intent.fallback_before)
        return {"reason": reason}

    _advance(desk, under_way, "ABORTED", undo, told)
    return Ended(under_way.promotion_id, "ABORTED", reason)


def _point(desk: Desk, alias: str, version: str | None) -> None:
    if version is None:
        desk.registry.delete_alias(alias)
    else:
        desk.registry.set_alias(alias, version)


def in_words(kind: Literal["promote", "rollback", "adopt"], ended: Ended) -> str:
    """How it ended, for a person."""
    return f"{kind} {ended.promotion_id[:12]}: {ended.state}{f' ({ended.reason})' if ended.reason else ''}"
