"""The flows that deployments run: retrain, evaluate, promote, each in a workspace of its own (see `flows/deploy.py`).

Takes a request, a form in Prefect's pages; gives what was done. A deployment works on the commit it was made from. One
of these runs at a time; of those that wait only the newest is kept. Does not serve, schedule or watch.

What does the work is imported inside the flows: a run is RUNNING, for people and for the watcher, seconds earlier.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from prefect import flow, get_run_logger
from prefect.context import FlowRunContext
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import BaseModel, ConfigDict, Field

from flows.shared.environ import tracking_uri
from flows.shared.faults import UserFault
from flows.shared.living import living
from flows.shared.newest_retrain import Newest, read_newest, write_newest
from flows.shared.notices import tell_failure
from flows.shared.paths import Paths, project
from flows.shared.turns import turn
from flows.shared.workspace import Workspace, prepare, version_of

HOOKS: dict[str, Any] = {"on_failure": [tell_failure], "on_crashed": [tell_failure]}


class NothingTrained(UserFault):
    """There is no workspace whose model could be promoted."""


class RetrainRequest(BaseModel):
    """What is to be trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: Literal["demo", "full", "smoke"] | None = Field(default=None, description="Empty: the one in params.yaml.")
    seed: int | None = Field(default=None, ge=0, description="Empty: the one in params.yaml.")
    promote: bool = Field(default=True, description="Register, gate and promote the result.")
    why: str = Field(default="", max_length=500, description="For those who read the list of runs.")


AS_IT_IS = RetrainRequest()
"""Train what is deployed, promote what is better."""


@flow(name="retrain", **HOOKS)
def retrain(request: RetrainRequest = AS_IT_IS) -> Any:
    """Every stage up to date for the newest annotations, then the decision over the model."""
    return _in_workspace(request, promote=request.promote)


@flow(name="evaluate", **HOOKS)
def evaluate(request: RetrainRequest = AS_IT_IS) -> Any:
    """Every stage up to date, the report included; nothing is registered or promoted."""
    return _in_workspace(request, promote=False)


@flow(name="promote", **HOOKS)
def promote() -> Any:
    """Register, gate and promote what the newest retrain made."""
    from flows.shared.promotion_tasks import promote_payload

    desk = project()
    newest = read_newest(desk)
    if newest is None or newest.workspace is None or not Path(newest.workspace).is_dir():
        raise NothingTrained("there is no workspace of a retrain: run the deployment `retrain` first")
    with _turn(desk) as mine:
        return promote_payload(Paths(Path(newest.workspace))) if mine else _superseded()


def _in_workspace(request: RetrainRequest, *, promote: bool) -> Any:
    desk = project()
    with _turn(desk) as mine:
        if not mine:
            return _superseded()
        at = time.time()
        space = prepare(desk, commit=_commit(desk), profile=request.profile, seed=request.seed)
        get_run_logger().info(f"workspace {space.key}: commit {space.commit[:12]}, annotations {space.data[:12]}")
        _record(desk, space, at)
        with contextlib.chdir(space.root):
            here = Paths(Path(space.root))
            return _unchanged(here) if _nothing_to_do(here, promote=promote) else _work(here, promote=promote)


def _nothing_to_do(space: Paths, *, promote: bool) -> bool:
    """Seen without what does the work: importing it takes longer than looking."""
    from flows.shared.graph import changed_stages
    from flows.shared.unchanged import nothing_to_do

    return nothing_to_do(space) if promote else not changed_stages(space.root)


def _unchanged(space: Paths) -> Any:
    from flows.shared.graph import stage_names

    get_run_logger().info(", ".join(f"{stage} unchanged" for stage in stage_names(space.root)))
    return Completed(message="0 stages ran: nothing has changed since the last decision.")


def _work(space: Paths, *, promote: bool) -> Any:
    """The retrain itself; its outcome is logged for those who read the run."""
    from flows.retrain import work

    done = work(space, promote=promote)
    get_run_logger().info(", ".join(f"{stage} {outcome}" for stage, outcome in done.outcomes.items()))
    return done


@contextlib.contextmanager
def _turn(desk: Paths) -> Iterator[bool]:
    """This run's turn; its process is known, and everything it starts uses the desk's stores."""
    me = str(flow_run.get_id())
    os.environ["MLFLOW_TRACKING_URI"] = tracking_uri(desk)
    with living(desk, me), turn(desk.retrain_turns, me) as mine:
        yield mine


def _superseded() -> Any:
    return Completed(name="Superseded", message="A newer request waits for the same turn.")


def _commit(desk: Paths) -> str:
    """The commit that the deployment was made from; the desk's where its version does not say."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    version = run.deployment_version if run is not None else None
    return (version or version_of(desk.root)).removesuffix("-dirty")


def _record(desk: Paths, space: Workspace, at: float) -> None:
    """Whoever asked for it: these are the annotations that the newest retrain is about."""
    before, me = read_newest(desk), str(flow_run.get_id())
    same = before is not None and before.data == space.data
    attempt = before.attempt if before is not None and same else 1
    asked_at = before.asked_at if before is not None and same else at
    write_newest(desk, Newest(space.data, space.rows, attempt, asked_at, me, space.root))
