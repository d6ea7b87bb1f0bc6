"""One model, one thread that owns it: conversations join the running batch at any time and leave it when they are over.

Takes conversations from any thread; gives futures of what they return. A conversation that fails fails alone; when the
model itself fails, those under way fail and the next begin anew. Does not limit how many join: rows are given in the
order of coming.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import torch

from components.policy.backend import Backend
from components.policy.floor import Floor, Talk
from components.policy.policy import Policy

R = TypeVar("R")


class Engine(Protocol):
    """Where conversations go on."""

    def submit(self, talk: Talk[R]) -> Future[R]:
        """What the conversation will return or raise."""

    def close(self) -> None:
        """End once all conversations are over."""


class Closed(RuntimeError):  # noqa: N818 - says what it is
    """The engine takes no conversation any more."""


class LiveEngine:
    """Continuous batching over a policy in this process."""

    def __init__(
        self, policy: Policy, *, name: str, told: Callable[[BaseException], None] = lambda error: None
    ) -> None:
        """`told` hears of failures of the model itself."""
        self._policy, self._told = policy, told
        self._arrived: deque[tuple[Talk[Any], Future[Any]]] = deque()
        self._under_way: set[Future[Any]] = set()
        self._wake, self._closing = threading.Event(), False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name=f"engine-{name}", daemon=True)
        self._thread.start()

    def submit(self, talk: Talk[R]) -> Future[R]:
        """What the conversation will return or raise."""
        future: Future[R] = Future()
        future.set_running_or_notify_cancel()  # who loses interest sets the request's `cancelled`
        with self._lock:
            if self._closing:
                raise Closed("the engine is closed")
            self._arrived.append((talk, future))
        self._wake.set()
        return future

    def close(self) -> None:
        """End once all conversations are over."""
        with self._lock:
            self._closing = True
        self._wake.set()
        self._thread.join()

    def _work(self) -> None:
        with torch.no_grad():
            floor = self._policy.live(self._wake.set)
            while not (self._closing and not self._arrived and not floor.busy):
                # cleared before looking, so that whoever comes while we look is looked for again
                self._wake.clear()
                try:
                    self._let_in(floor)
                    moved = floor.busy and floor.round()
                except Exception as error:  # noqa: BLE001 - of whatever kind: those who wait must hear of it
                    floor = self._begin_anew(error)
                    continue
                if not moved and not self._arrived and not (self._closing and not floor.busy):
                    self._wake.wait()

    def _let_in(self, floor: Floor) -> None:
        while self._arrived:
            talk, future = self._arrived.popleft()
            self._under_way.add(future)
            floor.add(_settling(talk, future), lambda none, future=future: self._under_way.discard(future))  # type: ignore[misc]

    def _begin_anew(self, error: Exception) -> Floor:
        for future in self._under_way:
            if not future.done():
                future.set_exception(error)
        self._under_way.clear()
        self._policy.forget()
        self._told(error)
        return self._policy.live(self._wake.set)


def _settling(talk: Talk[R], future: Future[R]) -> Talk[None]:
    """The conversation, which tells its end to `future`."""
    try:
        result = yield from talk
    except Exception as error:  # noqa: BLE001 - a conversation that fails must not end those of others
        future.set_exception(error)
    else:
        future.set_result(result)


class RemoteEngine:
    """Conversations with a backend that batches by itself, each in a thread."""

    def __init__(self, backend: Backend, *, concurrent: int) -> None:
        self._backend = backend
        self._threads = ThreadPoolExecutor(concurrent)

    def submit(self, talk: Talk[R]) -> Future[R]:
        """What the conversation will return or raise."""
        return self._threads.submit(lambda: self._backend.converse([talk])[0])

    def close(self) -> None:
        """End once all conversations are over."""
        self._threads.shutdown(wait=True)
