"""What is served follows the registry: the alias of the champion, the canary, the shadow, and versions asked for.

Takes a stock to keep, a loader and the registry; runs in one thread. Looks at what is wanted every so often, loads what
is missing, and only then swaps: whatever fails leaves what was served in place, and is told (faults, ledger, metrics,
log). Tries again later, with growing pauses. An alias that vanishes changes nothing. Answers no requests.
"""

from __future__ import annotations

import queue
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from components.serving.settings import ServeSettings
from components.serving.stock import Routes, Served, Stock
from components.serving.surroundings import NoSuchVersion
from flows.shared import by_hand
from flows.shared.faults import UserFault
from flows.shared.fetching import forget_others
from flows.shared.notify import Notice
from flows.shared.promoting import Desk
from flows.shared.registry import Version
from flows.shared.traffic import Traffic, read_traffic, write_traffic

LONGEST_PAUSE = 600.0
CANARY_STOPPED = "canary.stopped"
"""Tag of a version whose canary was taken back; its value is the reason."""


@dataclass(slots=True)
class _Failure:
    """A version that could not be served."""

    pause: float
    again: float
    """When it may be tried again, by the follower's clock."""


class Follower:
    """Keeps the stock as it is wanted."""

    def __init__(
        self,
        desk: Desk,
        stock: Stock,
        settings: ServeSettings,
        *,
        load: Callable[[Version], Served],
        clock: Callable[[], float],
        say: Callable[[str], None],
        server: str,
        swapped: Callable[[bool], None] = lambda well: None,
    ) -> None:
        """`server`: name under which the ledger is told; `swapped` is told whether a version could be taken over."""
        self._desk, self._stock, self._settings, self._load = desk, stock, settings, load
        self._clock, self._say, self._server, self._swapped = clock, say, server, swapped
        self._asked: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._failures: dict[str, _Failure] = {}
        self._used: OrderedDict[str, None] = OrderedDict()
        """Versions in memory, the one that was wanted last at the end."""
        self._named: str | None = None
        """What the alias named at the last look."""
        self._taken_back: set[str] = set()
        """Canaries that were stopped, as long as the file still names them."""
        self._thread = threading.Thread(target=self._work, name="follower", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """End; what is being loaded is loaded to its end."""
        self._asked.put(None)
        self._thread.join()

    def fetch(self, number: str) -> Future[None]:
        """Have a version loaded, whoever wants it; may be called from any thread."""
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()
        self._asked.put(lambda: self._fetch(number, future))
        return future

    def end_canary(self, number: str, reason: str, tell: Callable[[Notice], None]) -> None:
        """A canary was taken back: write it down and `tell` it; may be called from any thread."""
        self._taken_back.add(number)
        self._asked.put(lambda: self._end_canary(number, reason, tell))

    def look(self) -> None:
        """Bring the stock to what is wanted now, as far as it goes."""
        try:
            champion = self._desk.champion()
            challenger = self._desk.registry.alias(self._desk.settings.aliases.challenger)
            traffic = read_traffic(self._desk.paths)
            if champion is None:
                self._desk.registry.versions()  # raises where the store is away, which an alias does not tell
            versions = {number: self._version(number) for number in (traffic.canary, traffic.shadow) if number}
            self._stock.faults.registry = None
        except Exception as error:  # noqa: BLE001 - whatever a store that is away raises: what is served goes on
            self._note_registry(error)
            return
        if champion is not None:
            self._crown(champion)
        for version in versions.values():
            if version is not None:
                self._have(version)
        self._route(challenger, traffic)
        self._tidy()
        wanted = {*versions, *(() if champion is None else (champion.number,))}
        faults = self._stock.faults.versions
        self._stock.faults.versions = {number: why for number, why in faults.items() if number in wanted}

    # --- private

    def _work(self) -> None:
        self.look()
        while True:
            try:
                work = self._asked.get(timeout=self._settings.poll_seconds)
            except queue.Empty:
                self.look()
                continue
            if work is None:
                return
            work()

    def _crown(self, champion: Version) -> None:
        """Swap to the champion, once it can answer."""
        before, named = self._stock.routes.champion, self._named
        self._named = champion.number
        if before == champion.number:
            if named not in (None, before):  # the alias went away and came back: it never was not served
                self._report(champion, None)
            return
        if not self._have(champion, report=True):
            return
        routes = self._stock.routes
        self._stock.routes = Routes(
            champion.number, routes.challenger, routes.canary, routes.canary_share, routes.shadow
        )
        self._say(
            f"version {champion.number} ({champion.digest[:12]}) is served"
            + (f", in place of {before}" if before else "")
        )
        self._swapped(True)
        self._report(champion, None)

    def _have(self, version: Version, *, report: bool = False) -> bool:
        """Whether the version is in memory; it is loaded where it is not, unless it failed a short while ago."""
        number = version.number
        if self._stock.get(number) is not None:
            self._used.move_to_end(number)
            return True
        failure = self._failures.get(number)
        if failure is not None and self._clock() < failure.again:
            return False
        try:
            self._stock.put(self._load(version))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a version, the others are served on
            self._failed(version, error, report=report)
            return False
        self._failures.pop(number, None)
        self._stock.faults.versions.pop(number, None)
        self._used[number] = None
        return True

    def _failed(self, version: Version, error: Exception, *, report: bool) -> None:
        known = self._failures.get(version.number)
        pause = min(LONGEST_PAUSE, self._settings.retry_seconds if known is None else 2 * known.pause)
        self._failures[version.number] = _Failure(pause, self._clock() + pause)
        reason = f"{type(error).__name__}: {error}"
        kept = self._stock.routes.champion
        self._stock.faults.versions[version.number] = reason
        self._say(
            f"version {version.number} is not served ({reason}); "
            f"{f'version {kept} goes on' if kept else 'nothing is served yet'}, again in {pause:.0f} s"
        )
        self._swapped(False)
        if report and known is None:
            self._report(version, reason)

    def _report(self, version: Version, fault: str | None) -> None:
        try:
            by_hand.report_served(self._desk, version.number, server=self._server, fault=fault)
        except Exception as error:  # noqa: BLE001 - a ledger that is away must not stop the serving
            self._say(f"the ledger could not be told of version {version.number}: {error}")

    def _route(self, challenger: Version | None, traffic: Traffic) -> None:
        """Canary and shadow get requests once they are in memory."""
        held = {number for number in (traffic.canary, traffic.shadow) if number and self._stock.get(number)}
        fit = traffic.canary in held - self._taken_back and traffic.share > 0
        canary = traffic.canary if fit else None
        routes = Routes(
            champion=self._stock.routes.champion,
            challenger=None if challenger is None else challenger.number,
            canary=canary,
            canary_share=traffic.share if canary else 0.0,
            shadow=traffic.shadow if traffic.shadow in held else None,
        )
        if routes != self._stock.routes:
            self._stock.routes = routes

    def _tidy(self) -> None:
        """Keep what is wanted, and the few that were wanted last."""
        routes = self._stock.routes
        wanted = {number for number in (routes.champion, routes.canary, routes.shadow) if number}
        others = [number for number in reversed(self._used) if number not in wanted]
        kept = wanted | set(others[: self._settings.spare])
        if set(self._used) <= kept:
            return
        for number in set(self._used) - kept:
            del self._used[number]
        self._stock.keep(kept)
        forget_others(self._desk.paths, {served.digest for served in self._stock.held()})

    def _fetch(self, number: str, future: Future[None]) -> None:
        try:
            version = self._version(number)
            if version is None:
                raise NoSuchVersion(number)
            if not self._have(version):
                raise UserFault(self._stock.faults.versions.get(number, "it could not be loaded"))
            future.set_result(None)
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
            future.set_exception(error)

    def _version(self, number: str) -> Version | None:
        return next((version for version in self._desk.registry.versions() if version.number == number), None)

    def _end_canary(self, number: str, reason: str, tell: Callable[[Notice], None]) -> None:
        title = f"the canary, version {number}, was taken back"
        self._say(f"{title}: {reason}")
        try:
            now = read_traffic(self._desk.paths)
            if now.canary == number:
                write_traffic(self._desk.paths, Traffic(shadow=now.shadow, stopped=f"version {number}: {reason}"))
            self._taken_back.discard(number)
            self._desk.registry.tag_version(number, {CANARY_STOPPED: reason[:4900]})
        except Exception as error:  # noqa: BLE001 - it is stopped in memory, whatever can be written down
            self._say(f"the end of the canary could not be written down: {error}")
        tell(Notice("alarm", title, reason))

    def _note_registry(self, error: Exception) -> None:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        if self._stock.faults.registry != reason:
            self._say(f"the registry cannot be asked ({reason}); what is served goes on")
        self._stock.faults.registry = reason
