"""A Prefect server for the time of a run. Takes the project's paths; gives the URL of an API. Never uses the ephemeral
API, which loses records of task runs. Imports Prefect only if a flow has.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from flows.shared.faults import UserFault
from flows.shared.operations import load_operations
from flows.shared.paths import Paths
from flows.shared.process import Groups

START_SECONDS = 300.0
DELIVER_SECONDS = 10.0


class ServerFailed(UserFault):
    """The server did not come up; the message names its log."""


@contextlib.contextmanager
def api(paths: Paths, groups: Groups) -> Iterator[str]:
    """The URL of a running server: the one PREFECT_API_URL names, else one on loopback, stopped at the end."""
    running = os.environ.get("PREFECT_API_URL")
    if running and is_healthy(running):
        yield running
        return
    process, url = start(paths, groups, port=free_port())
    os.environ["PREFECT_API_URL"] = url
    try:
        yield url
    finally:
        _deliver()
        os.environ.pop("PREFECT_API_URL", None)
        groups.stop(process)


def start(paths: Paths, groups: Groups, *, port: int) -> tuple[subprocess.Popen[str], str]:
    """A server on 127.0.0.1, once it answers, and the URL of its API."""
    paths.logs.mkdir(parents=True, exist_ok=True)
    log = paths.logs / "prefect-server.log"
    url = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with contextlib.ExitStack() as failed:
        process = groups.start(command, cwd=paths.root, env={"PREFECT_API_URL": url}, log=log)
        failed.callback(groups.stop, process)
        _wait(process, url, log)
        failed.pop_all()
    return process, url


def reachable(paths: Paths) -> str | None:
    """The API of a server that answers: the one PREFECT_API_URL names, else the one of `qanat up`; None without one."""
    served = f"http://127.0.0.1:{load_operations(paths).ports.prefect}/api"
    known = os.environ.get("PREFECT_API_URL") or served
    return known if is_healthy(known) else None


def is_healthy(url: str) -> bool:
    """True when a Prefect API answers at `url`."""
    return answers(f"{url}/health")


def answers(url: str) -> bool:
    """True when a server answers there, and well."""
    try:
        return httpx.get(url, timeout=2.0).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _deliver() -> None:
    """Send what Prefect still holds: at exit it would retry for a minute against a server that is gone."""
    if "prefect" in sys.modules:
        from prefect.events.worker import EventsWorker
        from prefect.logging.handlers import APILogWorker

        EventsWorker.drain_all(timeout=DELIVER_SECONDS)
        APILogWorker.drain_all(timeout=DELIVER_SECONDS)


def _wait(process: subprocess.Popen[str], url: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while not is_healthy(url):
        if process.poll() is not None:
            raise ServerFailed(f"the Prefect server ended with status {process.returncode}: see {log}")
        if time.monotonic() > end:
            raise ServerFailed(f"the Prefect server did not answer within {START_SECONDS:.0f} s: see {log}")
        time.sleep(0.2)
