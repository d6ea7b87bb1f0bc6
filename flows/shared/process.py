"""Processes that a run starts, each in its own group, and what is left of them when a run was killed.

Takes commands; gives their lines as they are printed and their exit status. Ends whole groups, never a single process:
ending only DVC would leave the stage's process working on. Does not know what the commands do.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from flows.shared.faults import UserFault

GRACE_SECONDS = 10.0
KILL_SECONDS = 30.0
COMPUTING = {
    # Large tensors come and go every layer: giving their pages back to the kernel each time costs 10-15 % of a step.
    "MALLOC_MMAP_THRESHOLD_": str(2**33),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
    # Threads that spin for long make a busy machine several times slower; those that sleep at once make decoding, with
    # its thousands of small operations a step, 2.5 times slower (measured: 400 against 150 ms at 64 rows).
    "GOMP_SPINCOUNT": "5000",
}
"""How a stage's process computes, unless the environment says otherwise."""


class RunUnderWay(UserFault):
    """Another run works in this folder."""


class ProcessLeft(UserFault):
    """A process of an ended group is still there."""


class Groups:
    """The process groups of one run, written to a file so that a later run can end what a killed one left."""

    def __init__(self, record: Path) -> None:
        self._record = record
        self._pids: dict[int, float] = {}

    def start(
        self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None, log: Path | None = None
    ) -> subprocess.Popen[str]:
        """A new process leading its own group; its output is piped, or written to `log`."""
        with contextlib.ExitStack() as stack:
            target = subprocess.PIPE if log is None else stack.enter_context(log.open("a", encoding="utf-8"))
            process = subprocess.Popen(
                list(command),
                cwd=cwd,
                env=child_environment(env or {}),
                stdin=subprocess.DEVNULL,
                stdout=target,
                stderr=subprocess.STDOUT,
                text=True,
                bufsize=1,
                errors="replace",
                start_new_session=True,
            )
        # by the clock that other processes' start times are told by, which is not `time.time`
        self._pids[process.pid] = psutil.Process(process.pid).create_time()
        self._save()
        return process

    def stop(self, process: subprocess.Popen[str], *, grace_seconds: float = GRACE_SECONDS) -> None:
        """End the whole group of `process`: asked first, killed after `grace_seconds`."""
        end_group(process.pid, started=self._pids.pop(process.pid, 0.0), grace_seconds=grace_seconds)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        self._save()

    def _save(self) -> None:
        self._record.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"groups": [{"pgid": pid, "started": at} for pid, at in self._pids.items()]})
        temporary = self._record.with_suffix(".tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self._record)


@contextlib.contextmanager
def alone(record: Path) -> Iterator[Groups]:
    """Groups kept in `record`, once nobody else uses that record and nothing of a killed run is left."""
    record.parent.mkdir(parents=True, exist_ok=True)
    with record.with_suffix(".lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunUnderWay("another `qanat run` is under way in this folder: wait for it, or stop it") from None
        end_orphans(record)
        try:
            yield Groups(record)
        finally:
            end_orphans(record)
            record.unlink(missing_ok=True)


def end_orphans(record: Path) -> int:
    """End what the recorded groups still run; gives the number of processes that were alive."""
    try:
        groups = json.loads(record.read_text(encoding="utf-8"))["groups"]
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        return 0
    return sum(end_group(group["pgid"], started=group["started"], grace_seconds=2.0) for group in groups)


def end_group(pgid: int, *, started: float, grace_seconds: float) -> int:
    """End every process of session `pgid` that is not older than `started`; gives how many there were.

    When it returns they are gone, so that the locks they held are free.
    """
    alive = _members(pgid, started)
    _send(alive, signal.SIGTERM)
    left = _wait_until_gone(pgid, started, seconds=grace_seconds)
    _send(left, signal.SIGKILL)
    stubborn = _wait_until_gone(pgid, started, seconds=KILL_SECONDS)
    if stubborn:
        raise ProcessLeft(f"cannot end processes {', '.join(str(process.pid) for process in stubborn)}")
    return len(alive)


def _send(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _wait_until_gone(pgid: int, started: float, *, seconds: float) -> list[psutil.Process]:
    end = time.monotonic() + seconds
    while (left := _members(pgid, started)) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def _members(pgid: int, started: float) -> list[psutil.Process]:
    """Processes of the session; the start time guards against a number that was given to somebody else since."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            same = os.getsid(process.pid) == pgid and process.create_time() >= started
            if same and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This environment, this interpreter's folder first on PATH (stages are `python -m ...`), `extra` on top."""
    here = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", os.defpath)
    first = path if path.split(os.pathsep)[0] == here else f"{here}{os.pathsep}{path}"
    return {**COMPUTING, **os.environ, "PATH": first, "PYTHONUNBUFFERED": "1", **extra}
