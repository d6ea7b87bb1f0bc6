"""Watches the annotations: when they are not what the newest retrain was asked for, exactly one is asked for.

Takes the project's paths and a Prefect server; gives what was decided. Looks at the folder, not at events, so that
nothing depends on being told. One look at a time, whoever looks. Does not train: the deployment `retrain` does.
"""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import httpx
from prefect import flow, get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound

from components.records.intake import count_rows
from flows.shared.faults import UserFault
from flows.shared.inputs import dvc_hash
from flows.shared.newest_retrain import Newest, read_newest, write_newest
from flows.shared.operations import load_operations
from flows.shared.paths import Paths, project
from flows.shared.tracking import track
from flows.shared.trigger import Asked, Decision, Fate, Nothing, Seen, Start, Wait, decide

DEPLOYMENT = "retrain/retrain"
FATES: dict[StateType, Fate] = {
    StateType.COMPLETED: "finished",
    StateType.FAILED: "failed",
    StateType.CRASHED: "interrupted",
    StateType.CANCELLED: "cancelled",
    StateType.RUNNING: "running",
    StateType.CANCELLING: "running",
}
"""All other states wait."""
SHUTDOWN = "Runner is shutting down"
"""How Prefect's runner explains that it cancelled a run because it was itself stopped."""


class NotDeployed(UserFault):
    """There is no deployment that could retrain."""


@flow(name="watch")
def watch(root: str | None = None) -> str:
    """One look, for servers on which nobody runs `qanat watch`."""
    told = sentence(look(project(Path(root) if root else None)))
    get_run_logger().info(told)
    return told


def look_for_ever(paths: Paths, *, say: Callable[[str], None]) -> None:
    """Look again and again, until this process is told to stop; says what changes."""
    settings = load_operations(paths).watch
    last, known = "", Folder()
    while True:
        try:
            told = sentence(look(paths, known))
        except (httpx.HTTPError, NotDeployed) as error:  # the server is starting, or gone for a while
            told = f"cannot ask for a retrain: {error}"
        if told != last:
            say(told)
        last = told
        time.sleep(settings.poll_seconds)


class Folder:
    """What one watcher remembers between looks, so that a look at what has not changed costs nothing."""

    def __init__(self) -> None:
        self._signature: object = None
        self.data = ""
        """DVC's hash of the annotations."""
        self.rows = 0
        self.settled: Newest | None = None
        """The retrain whose fate is known to be final."""

    def look(self, paths: Paths) -> None:
        """Bring hash and number of rows up to date; hashed again only when names, sizes or times changed."""
        signature = _signature(paths)
        if signature != self._signature:
            self.data = dvc_hash(paths.annotations)
            self.rows = count_rows(paths.annotations)
            self._signature = signature


def look(paths: Paths, folder: Folder | None = None) -> Decision:
    """Decide over the annotations as they are, and do it."""
    folder = folder or Folder()
    for needed in (paths.intake, paths.annotations):
        needed.mkdir(parents=True, exist_ok=True)
    with (paths.intake / "watch.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder.look(paths)
        newest = read_newest(paths)
        if newest is not None and folder.settled == newest and newest.data == folder.data:
            return Nothing("the newest annotations were asked for")
        decision = _decide(paths, folder, newest)
    if isinstance(decision, Start):
        _version(paths)
    if isinstance(decision, Nothing):
        folder.settled = newest
    return decision


def _decide(paths: Paths, folder: Folder, newest: Newest | None) -> Decision:
    with get_client(sync_client=True) as client:
        asked = Asked(newest.data, newest.rows, newest.attempt, _fate(client, newest)) if newest else None
        changed, since = _times(paths, newest.asked_at if newest else 0.0)
        now = time.time()
        seen = Seen(folder.data, folder.rows, min(changed, now), min(since, now), asked)
        decision = decide(seen, now, load_operations(paths).watch)
        if isinstance(decision, Start):
            _ask(paths, client, _wish(decision, folder.rows, newest, now))
    return decision


def _wish(start: Start, rows: int, newest: Newest | None, now: float) -> Newest:
    """A new wish, or again the one that was kept and perhaps never told.

    Its time makes the key by which a server knows it: annotations that went back to what they once were would else be
    given the run of that time.
    """
    if newest is not None and (newest.data, newest.attempt, newest.workspace) == (start.data, start.attempt, None):
        return newest
    return Newest(start.data, rows, start.attempt, now, None)


def _ask(paths: Paths, client: SyncPrefectClient, wish: Newest) -> None:
    """Written first: whoever is killed in between asks again under the same key and gets the same run."""
    try:
        deployment = client.read_deployment_by_name(DEPLOYMENT)
    except ObjectNotFound:
        raise NotDeployed(f"there is no deployment {DEPLOYMENT}: `qanat deploy` makes it") from None
    write_newest(paths, wish)
    run = client.create_flow_run_from_deployment(
        deployment.id,
        parameters={"request": {"why": f"annotations {wish.data[:12]}"}},
        idempotency_key=f"annotations-{wish.data}-{wish.attempt}-{wish.asked_at}",
    )
    write_newest(paths, replace(wish, flow_run_id=str(run.id)))


def _fate(client: SyncPrefectClient, newest: Newest) -> Fate:
    if newest.flow_run_id is None:
        return "unknown"
    try:
        run = client.read_flow_run(UUID(newest.flow_run_id))
    except ObjectNotFound:
        return "unknown"
    return fate_of(run)


def fate_of(run: FlowRun) -> Fate:
    """How a flow run fares, in the words of the decision."""
    if run.state is None:
        return "waiting"
    if run.state.type == StateType.CANCELLED and (run.state.message or "").startswith(SHUTDOWN):
        return "interrupted"
    return FATES.get(run.state.type, "waiting")


def _version(paths: Paths) -> None:
    """Annotations that were just dropped into the folder are versioned as well; a busy DVC lets it be for now."""
    with contextlib.suppress(UserFault):
        track(paths)


def _signature(paths: Paths) -> object:
    files = sorted(paths.annotations.glob("*")) if paths.annotations.is_dir() else []
    return [(file.name, stat.st_size, stat.st_mtime_ns) for file in files for stat in [file.stat()]]


def _times(paths: Paths, asked_at: float) -> tuple[float, float]:
    """When the folder last changed, and when first after `asked_at`; in seconds since 1970."""
    times = [entry.stat().st_mtime for entry in (paths.annotations, *paths.annotations.glob("*"))]
    return max(times), min((one for one in times if one > asked_at), default=max(times))


def sentence(decision: Decision) -> str:
    """For people."""
    match decision:
        case Start(data, attempt):
            return f"retrain asked for: annotations {data[:12]}, attempt {attempt}"
        case Wait(None, why):
            return why
        case Wait(until, why):
            return f"{why}; at the latest {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(until))}"
        case Nothing(why):
            return why
