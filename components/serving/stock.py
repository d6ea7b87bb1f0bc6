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
from components.policy.floor import Talk
from components.policy.told_price import FollowsNoPrice
from components.rollout.act import Manner
from components.serving.asking import Asked
from components.serving.conversation import Answer, Hear, TakeTurn, freely, play
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
    manner: Manner = field(default_factory=Manner)
    """The prices that it can be told, and the usual one."""
    leases: int = 0
    retired: bool = False
    on_close: Callable[[], None] = lambda: None
    """Called when the version was closed and let go of."""

    @property
    def fingerprint(self) -> str:
        """Version and digest, as answers carry them."""
        return f"{self.number}:{self.digest[:12]}"

    def talk(self, asked: Asked, *, hear: Hear | None = None, cancelled: threading.Event | None = None) -> Talk[Answer]:
        """The request as a conversation for the engine: the model is asked, and acts, as it did when it was evaluated.

        Raises:
            FollowsNoPrice: a price is given, and the model neither reads prices nor values actions.
        """
        told, take_turn = self._way(asked)
        # where one of several texts is chosen, none may be heard before
        heard = hear if take_turn is freely else None
        return play(self.backend, self.toolbox, told, take_turn=take_turn, hear=heard, cancelled=cancelled)

    def _way(self, asked: Asked) -> tuple[Asked, TakeTurn]:
        levels, by_value = self.manner.levels, self.at_price
        if asked.price is not None and not levels and by_value is None:
            raise FollowsNoPrice(
                f"version {self.number} cannot move its price: it was trained neither to read prices "
                "(`price_conditioned` in section reinforce of params.yaml) nor to value actions (`form: q_learning`)"
            )
        if levels:
            problem = self.manner.told(asked.state.problem, asked.price)
            asked = replace(asked, state=replace(asked.state, problem=problem))
        if by_value is None:
            return asked, freely
        # a price that the model was told is in its values already
        moved = None if levels else asked.price
        return asked, by_value(self.manner.usual_price if moved is None else moved)


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
    """Apart, because whoever ends the last lease may be the engine's own thread, which cannot wait for itself.

    `on_close` is called when nothing here holds the engine any more, so that it can have the memory back.
    """
    engines, after = [served.engine], served.on_close

    def close() -> None:
        engines.pop().close()
        after()

    threading.Thread(target=close, name=f"close-{served.number}", daemon=True).start()
