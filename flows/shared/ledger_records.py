"""What the ledger records. Takes nothing; gives the records. Does not store them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from components.records.chain import Link

State = Literal["INTENT", "ALIAS_SET", "TAGGED", "SERVED", "DONE", "ABORTED"]
FINAL: frozenset[State] = frozenset({"DONE", "ABORTED"})


@dataclass(frozen=True, slots=True)
class Intent:
    """What a promotion is about to do, complete, so that anybody can finish it."""

    kind: Literal["promote", "rollback", "adopt"]
    source: str | None
    """Version that must be champion now; None for the first of all."""
    target: str
    """Version that becomes champion."""
    digest: str
    """Of the target's payload."""
    by: str
    reason: str
    fallback: str | None = None
    """Version that the alias `previous` will name."""
    fallback_before: str | None = None
    """Version it names now."""
    force: bool = False
    """Quarantine does not stop it."""
    reports_before: int = 0
    """Last report of a server that is older than this intent."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """Gate report, digests, commit, data hashes: why this was right to do."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One recorded transition."""

    number: int
    promotion_id: str
    state: State
    at: str
    """UTC, ISO 8601."""
    body: Mapping[str, Any]
    hash: str
    previous: str

    @property
    def link(self) -> Link:
        return Link(self.number, content(self.promotion_id, self.state, self.at, self.body), self.previous, self.hash)


@dataclass(frozen=True, slots=True)
class Open:
    """A promotion that has neither been done nor aborted."""

    promotion_id: str
    intent: Intent
    state: State
    since: datetime
    """When it came into this state."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A server's report on a version."""

    server: str
    fault: str | None
    """Why it does not serve the version; None when it does."""
    at: str


def content(promotion_id: str, state: str, at: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """What an entry's hash is over, besides its place."""
    return {"promotion_id": promotion_id, "state": state, "at": at, "body": body}


def name_of(version: str | None) -> str:
    """A champion in words."""
    return "no champion" if version is None else f"version {version}"
