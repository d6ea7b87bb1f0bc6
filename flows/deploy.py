"""The deployments: which flows a server can run, on which commit, when. `qanat deploy` serves them from this machine.

Takes the project's paths and a Prefect server; serves until it is told to stop. Each deployment carries the commit it
was made from as its version, so a later run does what was deployed, not what was edited since. Does not start the
server.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.exceptions import TerminationSignal
from prefect.runner import Runner
from prefect.types.entrypoint import EntrypointType

from flows.deployed import evaluate, promote, retrain
from flows.promote import reconcile, rollback
from flows.shared import living
from flows.shared.heartbeats import watch_heartbeats
from flows.shared.hints import EVENT, RESOURCE
from flows.shared.paths import Paths
from flows.shared.workspace import version_of
from flows.watch import watch

PARALLEL = 4
"""Runs at a time: one trains, others wait for their turn or look."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """A flow that the server can run."""

    flow: Any
    """A Prefect flow of this package; the deployment has its name."""
    scheduled: bool = False
    """True when `--cron` is about it."""
    on_annotations: bool = False
    """True when `--on-events` lets the event of added annotations start it."""


FLOWS: tuple[Deployed, ...] = (
    Deployed(retrain, scheduled=True),
    Deployed(watch, on_annotations=True),
    Deployed(evaluate),
    Deployed(promote),
    Deployed(rollback),
    Deployed(reconcile),
)
"""One line a deployment."""


def deploy(paths: Paths, *, cron: Sequence[str], on_events: bool, say: Callable[[str], None]) -> None:
    """Serve all deployments until SIGTERM or Ctrl-C; runs that a killed predecessor left are settled first."""
    version = version_of(paths.root)
    for run in living.reconcile(paths):
        say(f"flow run {run}: its process is gone, marked as crashed")
    living.end_left_stages(paths)
    watch_heartbeats()
    made = [deployment(one, version=version, cron=cron, on_events=on_events) for one in FLOWS]
    # another process that serves the same deployments must not find its schedules paused because this one ended
    runner = Runner(pause_on_shutdown=False, limit=PARALLEL)
    for one in made:
        runner.add_deployment(one)
    say(f"deployed {', '.join(one.name for one in made)} at version {version}")
    with contextlib.suppress(TerminationSignal):
        asyncio.run(runner.start())


def deployment(one: Deployed, *, version: str, cron: Sequence[str], on_events: bool) -> RunnerDeployment:
    """One deployment at a version, with its schedule and its trigger."""
    trigger = DeploymentEventTrigger(expect={EVENT}, match={"prefect.resource.id": RESOURCE})
    made = one.flow.to_deployment(
        one.flow.name,
        version=version,
        tags=[living.TAG],
        cron=list(cron) if one.scheduled and cron else None,
        triggers=[trigger] if one.on_annotations and on_events else [],
        entrypoint_type=EntrypointType.MODULE_PATH,
        description=(one.flow.fn.__doc__ or "").strip(),
    )
    assert isinstance(made, RunnerDeployment), "outside an event loop Prefect answers at once"
    return made
