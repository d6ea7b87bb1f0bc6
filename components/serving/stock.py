"""The versions in memory, and who is what: champion, challenger, canary, shadow.

Takes loaded versions from whoever follows the registry; gives leases of them to requests. A request keeps its version
to its end, whatever becomes champion meanwhile: one answer never mixes versions. A version that is wanted no more is
closed when its last lease ends. Loads nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from components.policy.backend import Backend
from components.serving.engine import Engine
from components.serving.pricing import AtPrice
from components.tools.toolbox import Toolbox


@dataclass(eq=False, slots=True)
class Served:
    """One version, ready to answer."""

    number: str
    digest: str
    backend: Backend
    engine: Engine
    toolbox: Toolbox
    at_price: AtPrice | None = None
    """None: the model has no heads that value actions."""
    leases: int = 0
    retired: bool = False
    on_close: Callable[[], None] = lambda: None

    @property
    def fingerprint(self) -> str:
        """Version and digest, as answers carry them."""
        return f"{self.number}:{self.digest[:12]}"


@dataclass(frozen=True, slots=True)
class Routes:
    """Who is what."""

    champion: str | None = None
    challenger: str | None = None
    canary: str | None = None
    canary_share: float = 0.0
    """Part of the champion's requests that the canary answers."""
    shadow: str | None = None


@dataclass(slots=True)
class Faults:
    """What went wrong, for those who look; empty when all is well."""

    versions: dict[str, str] = field(default_factory=dict)
    """Why a version that is wanted is not served."""
    registry: str | None = None
    """Why the registry cannot be asked."""


class Stock:
    """Versions by number."""

    def __init__(self) -> None:
        self._held: dict[str, Served] = {}
        self._lock = threading.Lock()
        self.routes = Routes()
        """Replaced as a whole, by one writer."""
        self.faults = Faults()

    def held(self) -> tuple[Served, ...]:
        """Every version in memory."""
        with self._lock:
            return tuple(self._held.values())

    def put(self, served: Served) -> None:
        """A version more."""
        with self._lock:
            self._held[served.number] = served

    def get(self, number: str) -> Served | None:
        """The version, if it is in memory."""
        with self._lock:
            return self._held.get(number)

    def lease(self, number: str) -> Served | None:
        """The version, which is kept until `release`; None when it is not in memory."""
        with self._lock:
            served = self._held.get(number)
            if served is not None:
                served.leases += 1
            return served

    def release(self, served: Served) -> None:
        """The lease is over."""
        with self._lock:
            served.leases -= 1
            due = served.retired and not served.leases
        if due:
            _close(served)

    def end_canary(self) -> None:
        """No request of the champion's goes to the canary any more."""
        self.routes = replace(self.routes, canary=None, canary_share=0.0)

    def keep(self, numbers: Collection[str]) -> None:
        """Retire all other versions; each is closed when its last lease has ended."""
        with self._lock:
            retired = [self._held.pop(number) for number in list(self._held) if number not in numbers]
            for served in retired:
                served.retired = True
            idle = [served for served in retired if not served.leases]
        for served in idle:
            _close(served)


def _close(served: Served) -> None:
    """Apart, because whoever ends the last lease may be the engine's own thread, which cannot wait for itself."""

    def close() -> None:
        served.engine.close()
        served.on_close()

    threading.Thread(target=close, name=f"close-{served.number}", daemon=True).start()
