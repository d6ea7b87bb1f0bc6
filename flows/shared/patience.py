"""A client that waits while its server is away: stores are restarted, and a stage of an hour should not end of that.

Takes any client and what tells an absent server from a refusal; gives a client with the same methods. Knows no server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from flows.shared.faults import UserFault

PATIENCE_SECONDS = 120.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0


class StoreAway(UserFault):
    """A server did not come back."""


class Patient:
    """Methods of `client`, asked again while the server is away."""

    def __init__(
        self,
        client: object,
        *,
        away: Callable[[Exception], str | None],
        once: Collection[str] = (),
        told: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`away`: why an error means that the server is away; None where it does not. `once`: methods that may have
        been done although their answer was lost, and must not be done twice. `told` hears of the first wait."""
        self._client, self._away, self._once = client, away, once
        self._told, self._clock, self._sleep = told, clock, sleep

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return partial(self._ask, found, name) if callable(found) else found

    def _ask(self, method: Callable[..., Any], name: str, *args: Any, **kwargs: Any) -> Any:
        """The method's answer.

        Raises:
            StoreAway: the server was away for PATIENCE_SECONDS.
        """
        latest, pause = self._clock() + PATIENCE_SECONDS, FIRST_PAUSE
        while True:
            try:
                return method(*args, **kwargs)
            except Exception as error:
                reason = self._away(error)
                if reason is None:
                    raise
                if name in self._once or self._clock() + pause > latest:
                    raise StoreAway(
                        f"{reason}; run the same again once it answers: nothing done so far is lost"
                    ) from None
                if pause == FIRST_PAUSE:
                    self._told(f"{reason}; waiting up to {PATIENCE_SECONDS:.0f} s")
            self._sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
