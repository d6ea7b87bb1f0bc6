"""Keeps a list of services running: starts them in order, restarts what dies, tells their state, stops all of them.

Takes services, each a command in a process group of its own; writes what is up to a file for others. Ends what it
started, in reverse order; a successor ends what a killed one left (`flows.shared.process.alone`). Does not know
what the services do.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx

from components.records.jsonl import read_records, write_records
from flows.shared.process import Groups

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
STEADY_SECONDS = 60.0
"""After so long without dying a service is forgiven its earlier deaths."""
LOOK_SECONDS = 0.5
STOP_SECONDS = 15.0
Health = Literal["waiting", "starting", "up", "restarting"]


@dataclass(frozen=True, slots=True)
class Service:
    """Something that is to run all the time."""

    name: str
    command: tuple[str, ...]
    health: str | None = None
    """Address that answers 200 once it is up; None: it is up when it runs."""
    page: str | None = None
    """What a person opens."""
    env: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    """Services that must be up first."""


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What others are told of a service."""

    name: str
    health: Health
    pid: int | None
    restarts: int
    page: str | None


class _Kept:
    """One service as the supervisor sees it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.process: subprocess.Popen[str] | None = None
        self.health: Health = "waiting"
        self.restarts = 0
        self.deaths = 0
        self.since = 0.0
        """When it started, or when it may start again."""

    @property
    def state(self) -> ServiceState:
        """For others."""
        pid = self.process.pid if self.process else None
        return ServiceState(self.service.name, self.health, pid, self.restarts, self.service.page)


class Supervisor:
    """Runs the services; `step` does whatever is due, `stop` ends all."""

    def __init__(
        self,
        services: Sequence[Service],
        groups: Groups,
        *,
        cwd: Path,
        logs: Path,
        record: Path,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kept = [_Kept(service) for service in services]
        self._groups = groups
        self._cwd = cwd
        self._logs = logs
        self._record = record
        self._say = say
        self._clock = clock
        logs.mkdir(parents=True, exist_ok=True)

    @property
    def states(self) -> tuple[ServiceState, ...]:
        """Of every service, in order."""
        return tuple(one.state for one in self._kept)

    def step(self) -> None:
        """Look at every service once: start, restart, and tell what changed."""
        before = self.states
        for one in self._kept:
            self._look(one)
        for old, new in zip(before, self.states, strict=True):
            if old.health != new.health:
                self._say(f"{new.name:<12} {new.health:<11} {new.page or ''}".rstrip())
        if self.states != before:
            write_records(self._record, self.states)

    def stop(self) -> None:
        """End all services, the last one first."""
        for one in reversed(self._kept):
            if one.process is not None:
                self._groups.stop(one.process, grace_seconds=STOP_SECONDS)
                self._say(f"{one.service.name:<12} stopped")
        self._record.unlink(missing_ok=True)

    def _look(self, one: _Kept) -> None:
        if one.process is None:
            if self._may_start(one):
                self._start(one)
        elif one.process.poll() is not None:
            self._died(one)
        elif one.health == "starting" and _is_healthy(one.service):
            one.health = "up"
        elif one.health == "up" and self._clock() - one.since > STEADY_SECONDS:
            one.deaths = 0

    def _may_start(self, one: _Kept) -> bool:
        up = {other.service.name for other in self._kept if other.health == "up"}
        return set(one.service.after) <= up and self._clock() >= one.since

    def _start(self, one: _Kept) -> None:
        log = self._logs / f"{one.service.name}.log"
        one.process = self._groups.start(one.service.command, cwd=self._cwd, env=one.service.env, log=log)
        one.since = self._clock()
        one.health = "starting"

    def _died(self, one: _Kept) -> None:
        """End what is left of its group, and let it start again after a pause that doubles with every death."""
        assert one.process is not None
        status = one.process.returncode
        self._groups.stop(one.process)
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**one.deaths)
        self._say(f"{one.service.name:<12} ended with status {status}, again in {pause:.0f} s (see its log)")
        one.process = None
        one.deaths += 1
        one.restarts += 1
        one.since = self._clock() + pause
        one.health = "restarting"


def read_states(record: Path) -> tuple[ServiceState, ...]:
    """What a supervisor told last; empty when none runs (or one was killed before it told anything)."""
    return read_records(record, ServiceState) if record.is_file() else ()


def _is_healthy(service: Service) -> bool:
    if service.health is None:
        return True
    try:
        return httpx.get(service.health, timeout=2.0).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
