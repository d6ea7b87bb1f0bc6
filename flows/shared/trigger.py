"""When annotations start a retrain: a pure decision over what is, whatever was heard of.

Takes what the folder holds now, what the newest retrain was asked for and how that one fares; gives start, wait or
nothing. Events are hints to look sooner; lost, doubled or reordered ones cannot change what is decided here. Reads no
clock, file or server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flows.shared.operations import WatchSettings

Fate = Literal["waiting", "running", "finished", "failed", "interrupted", "cancelled", "unknown"]
"""How a retrain fares. `interrupted`: its process is gone, its work is not done. `unknown`: asked for, never seen."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The newest retrain that was asked for."""

    data: str
    """Hash of the annotations."""
    rows: int
    attempt: int
    """Counted from 1 for the same data."""
    fate: Fate


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is now."""

    data: str
    """Hash of the annotations."""
    rows: int
    """0: there are none."""
    changed_at: float
    """When the folder last changed, in seconds of any clock."""
    differs_since: float
    """When it first differed from what the newest retrain was asked for, by the same clock."""
    asked: Asked | None
    """None: there never was a retrain."""


@dataclass(frozen=True, slots=True)
class Start:
    """Ask for a retrain now."""

    data: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again."""

    until: float | None
    """None: until something else happens (a run ends, annotations come)."""
    why: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """All that there is was asked for."""

    why: str


Decision = Start | Wait | Nothing


def decide(seen: Seen, now: float, settings: WatchSettings) -> Decision:
    """What to do about the annotations that are there at `now`."""
    asked = seen.asked
    if seen.rows == 0:
        return Nothing("there are no annotations")
    if asked is not None and asked.data == seen.data:
        return _again(asked, settings)
    if asked is not None and asked.fate == "running":
        return Wait(None, "a retrain is running; the newest annotations are next")
    return _ripe(seen, now, settings)


def _again(asked: Asked, settings: WatchSettings) -> Decision:
    """The newest annotations were asked for: only an interruption, or a request that got lost, repeats it."""
    if asked.fate == "unknown":
        return Start(asked.data, asked.attempt)
    if asked.fate == "interrupted":
        if asked.attempt < settings.attempts:
            return Start(asked.data, asked.attempt + 1)
        return Nothing(f"the retrain was interrupted {asked.attempt} times")
    return Nothing(f"the newest annotations were asked for: {asked.fate}")


def _ripe(seen: Seen, now: float, settings: WatchSettings) -> Decision:
    """New annotations: enough of them and quiet, or waited for long enough."""
    # a corrected or removed annotation is news as well
    new = max(1, abs(seen.rows - (seen.asked.rows if seen.asked else 0)))
    latest = seen.differs_since + settings.longest_wait_seconds
    quiet = seen.changed_at + settings.quiet_seconds
    if now >= latest:
        return _start(seen)
    if new < settings.minimum:
        return Wait(latest, f"{new} new annotations, {settings.minimum} are worth a retrain")
    if now < quiet:
        return Wait(min(quiet, latest), "annotations are still coming")
    return _start(seen)


def _start(seen: Seen) -> Start:
    return Start(seen.data, 1)
