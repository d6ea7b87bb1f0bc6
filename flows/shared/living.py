"""Which flow runs have a living process, and what is said of those that have none.

Takes the project's paths; gives records of processes, and marks runs as CRASHED on the server: open-source Prefect
leaves the run of a killed process RUNNING for ever. Ends no living process. Knows this machine only: runs in work
pools are watched by their heartbeats (`flows/shared/heartbeats.py`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psutil

from components.records.jsonl import BadRecord, read_records, write_records
from flows.shared.paths import Paths
from flows.shared.process import end_orphans

TAG = "qanat"
"""Every deployment's runs carry it."""


@dataclass(frozen=True, slots=True)
class FlowProcess:
    """The process of a flow run."""

    flow_run_id: str
    pid: int
    started: float
    """When, by the clock that other processes' start times are told by."""

    @property
    def alive(self) -> bool:
        """True while that very process runs."""
        try:
            process = psutil.Process(self.pid)
            return bool(process.create_time() == self.started and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False


@contextlib.contextmanager
def living(paths: Paths, flow_run_id: str) -> Iterator[None]:
    """This process is known as that of the run; a killed one leaves its record behind."""
    file = paths.flow_processes / f"{flow_run_id}.jsonl"
    write_records(file, [FlowProcess(flow_run_id, os.getpid(), psutil.Process().create_time())])
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def flow_processes(paths: Paths) -> tuple[FlowProcess, ...]:
    """Every record, of the living and of the dead."""
    found = []
    for file in sorted(paths.flow_processes.glob("*.jsonl")):
        with contextlib.suppress(FileNotFoundError, BadRecord, IndexError):
            found.append(read_records(file, FlowProcess)[0])
    return tuple(found)


def end_left_stages(paths: Paths) -> int:
    """End what stages of dead flow runs still do, at the desk and in workspaces; gives the number of processes."""
    if any(process.alive for process in flow_processes(paths)):
        return 0
    return sum(end_orphans(record) for record in _run_records(paths))


def reconcile(paths: Paths) -> list[str]:
    """Mark runs whose process is gone as CRASHED; gives their ids. Call it while no deployment is served yet."""
    from prefect.client.orchestration import get_client
    from prefect.states import Crashed

    alive = {process.flow_run_id for process in flow_processes(paths) if process.alive}
    with get_client(sync_client=True) as client:
        gone = [run for run in _unfinished(client, paths) if run not in alive]
        for run in gone:
            client.set_flow_run_state(UUID(run), Crashed(message="Its process is gone."), force=True)
    for process in flow_processes(paths):
        if not process.alive:
            (paths.flow_processes / f"{process.flow_run_id}.jsonl").unlink(missing_ok=True)
    return gone


def _unfinished(client: object, paths: Paths) -> list[str]:
    """Runs that the server takes for pending or running: those of served deployments, and those with a record here."""
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType

    assert isinstance(client, SyncPrefectClient)
    types = FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])
    found = client.read_flow_runs(flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=types)), limit=200)
    known = {process.flow_run_id for process in flow_processes(paths)}
    served = [run for run in found if TAG in run.tags and run.work_pool_name is None]
    return sorted({str(run.id) for run in served} | {str(run.id) for run in found if str(run.id) in known})


def _run_records(paths: Paths) -> list[Path]:
    return [paths.running, *(Paths(folder).running for folder in paths.workspaces.glob("*") if folder.is_dir())]
