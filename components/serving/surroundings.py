"""What the service needs of the world: clocks, ids, loading, and whom to tell. Takes nothing; gives the type."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from components.evaluation.spans import Span
from components.schema.cost import Cost
from components.serving.scrub import Scrub


class NoSuchVersion(LookupError):  # noqa: N818 - says what is missing
    """The registry has no such version."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the service needs of the world."""

    clock: Callable[[], float]
    """Seconds, never going back."""
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    """Letters and digits that nobody had before."""
    fetch: Callable[[str], Future[None]]
    """Have a version loaded; the future raises NoSuchVersion, or why it cannot be."""
    canary_stopped: Callable[[str, str], None]
    """Told version and reason when a canary was taken back."""
    log: Path
    """Folder of the records."""
    scrub: Scrub
    units: Callable[[Cost], float]
    trace: Callable[[str, Span], None]
    """Keeps a trace with a version; may be slow, and may raise."""
    fault: Callable[[str], None] = lambda text: None
    """Told of failures that no client is to be blamed for."""
