"""What is up, what runs, what waits for a person. Takes the project's paths; gives lines. Works when nothing is up."""

from __future__ import annotations

import contextlib
from typing import Any

import httpx
import psutil

from flows.shared.paths import Paths
from flows.shared.prefect_server import reachable
from flows.shared.supervisor import ServiceState, read_states

SECONDS = 5.0
SHOWN = 10


def service_lines(paths: Paths) -> list[str]:
    """One line a service of `qanat up`."""
    states = [one for one in read_states(paths.up) if one.pid is None or psutil.pid_exists(one.pid)]
    return [_service(one) for one in states] or ["Nothing is up: `qanat up` starts the servers and the deployments."]


def run_lines(paths: Paths) -> list[str]:
    """One line a flow run that the server has under way or about to start."""
    url = reachable(paths)
    if url is None:
        return []
    under_way = {"state": {"type": {"any_": ["RUNNING", "PENDING", "PAUSED", "CANCELLING"]}}}
    lines = [_run(run) for run in _runs(url, {"flow_runs": under_way})]
    scheduled = {"state": {"type": {"any_": ["SCHEDULED"]}}}
    coming = _runs(url, {"flow_runs": scheduled, "sort": "EXPECTED_START_TIME_ASC", "limit": 1})
    lines += [f"Next:     {run['name']} at {run['expected_start_time']}" for run in coming]
    return lines or ["Running:  nothing"]


def _service(one: ServiceState) -> str:
    again = f", restarted {one.restarts} times" if one.restarts else ""
    return f"{one.name:<12} {one.health}{again}  {one.page or ''}".rstrip()


def _run(run: dict[str, Any]) -> str:
    version = run.get("deployment_version") or "-"
    return f"Running:  {run['name']} ({run['state_name'].lower()} since {run['start_time']}, version {version})"


def _runs(url: str, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    with contextlib.suppress(httpx.HTTPError):
        answer = httpx.post(f"{url}/flow_runs/filter", json={"limit": SHOWN, **wanted}, timeout=SECONDS)
        found: list[dict[str, Any]] = answer.raise_for_status().json()
        return found
    return []
