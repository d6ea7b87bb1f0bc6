"""A Prefect server for a benchmark, and runs of the deployment `retrain` asked of it, as a client does.

Takes the project's paths or the address of an API; gives addresses, ids and states. Deploys nothing itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from flows.shared import environ, prefect_server
from flows.shared.paths import Paths
from flows.shared.process import alone

DEPLOYMENT = "retrain/retrain"
ENDS = ("COMPLETED", "FAILED", "CRASHED")


@contextmanager
def server_at(paths: Paths, port: int) -> Iterator[str]:
    """A server of the project's database at this port; gives the address of its API."""
    environ.prepare(paths)
    os.environ.pop("PREFECT_API_URL", None)
    with alone(paths.serving) as groups:
        process, url = prefect_server.start(paths, groups, port=port)
        try:
            yield url
        finally:
            groups.stop(process)


def deployment(api: str) -> str | None:
    """Its id; None where it is not deployed."""
    found = httpx.get(f"{api}/deployments/name/{DEPLOYMENT}")
    return str(found.json()["id"]) if found.status_code == httpx.codes.OK else None


def ask(api: str, parameters: Mapping[str, Any] | None = None) -> str:
    """The id of a new run; asked again while the server's database is busy (503), as Prefect's own client does."""
    address, body = f"{api}/deployments/{deployment(api)}/create_flow_run", {"parameters": dict(parameters or {})}
    made = until(lambda: (answer := httpx.post(address, json=body)).status_code != 503 and answer)
    return str(made.raise_for_status().json()["id"])


def end_of(api: str, run: str, *, seconds: float = 300) -> dict[str, Any]:
    """The state in which the run ended."""

    def ended() -> Any:
        state = httpx.get(f"{api}/flow_runs/{run}").json()["state"]
        return state["type"] in ENDS and state

    state: dict[str, Any] = until(ended, seconds)
    return state


def ended_well(api: str, run: str) -> None:
    """Until it has ended; raises where it did not end well."""
    state = end_of(api, run)
    assert state["type"] == "COMPLETED", state


def until(true: Callable[[], Any], seconds: float = 300) -> Any:
    """What it gives once that is true."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.2)
    return found
