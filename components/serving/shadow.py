"""The shadow: a version that answers what the champion answered, for nobody to read but those who compare.

Takes requests that were answered; writes one line a pair: whether both decided and answered the same, what each cost
and took. No texts. Never more than a few at once: what comes on top is left out, so that nobody waits for it (it does
share the machine).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from components.policy.floor import Talk
from components.records.append import append_line
from components.records.codec import to_json
from components.records.responses import ServedResponse
from components.schema.cost import Cost
from components.serving.conversation import Answer
from components.serving.stock import Served


@dataclass(frozen=True, slots=True)
class ShadowPair:
    """Champion and shadow on one request."""

    response_id: str
    version: str
    shadow: str
    same_first_decision: bool
    same_answer: bool
    stop_reason: str
    """Why the shadow's play ended; `failed: ...` when it raised."""
    units: float
    shadow_units: float


class Shadow:
    """Sends what was answered to the shadow's engine."""

    def __init__(self, file: Path, *, most: int, units: Callable[[Cost], float]) -> None:
        self._file, self._units = file, units
        self._room = threading.BoundedSemaphore(most)

    def send(
        self,
        served: Served,
        talk: Talk[Answer],
        answer: Answer,
        response: ServedResponse,
        release: Callable[[Served], None],
    ) -> bool:
        """Have the shadow answer, too; False when it has enough to do. `release` is called when it is done."""
        if not self._room.acquire(blocking=False):
            release(served)
            return False

        def done(future: Future[Answer]) -> None:
            self._room.release()
            release(served)
            append_line(self._file, to_json(_pair(future, served, answer, response, self._units)))

        served.engine.submit(talk).add_done_callback(done)
        return True


def _pair(
    future: Future[Answer],
    served: Served,
    answer: Answer,
    response: ServedResponse,
    units: Callable[[Cost], float],
) -> ShadowPair:
    error = future.exception()
    other = None if error is not None else future.result()
    return ShadowPair(
        response_id=response.response_id,
        version=response.version,
        shadow=served.number,
        same_first_decision=other is not None and other.decisions[:1] == answer.decisions[:1],
        same_answer=other is not None and (other.text, other.call) == (answer.text, answer.call),
        stop_reason=f"failed: {error}" if other is None else other.stop.value,
        units=response.units,
        shadow_units=0.0 if other is None else units(other.cost),
    )
