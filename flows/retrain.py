"""The main job: every stage of the DAG as one Prefect task, then register, gate and promote.

Takes the project's folder; gives which stages ran and what was decided. Reads the graph from `dvc.yaml` and knows no
stage by name. DVC alone decides whether a stage runs; Prefect shows, cancels and schedules. Does not start servers.
"""

from __future__ import annotations

import re
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import UUID

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from components.schema.report import PromotionDecision
from flows.shared import display as displays
from flows.shared import graph
from flows.shared import progress as stage_progress
from flows.shared.artifacts import StageRow, show_stages
from flows.shared.disk import require_room
from flows.shared.dvc_locks import drop_dead
from flows.shared.faults import UserFault
from flows.shared.living import living
from flows.shared.notices import tell_failure
from flows.shared.operations import load_operations
from flows.shared.paths import Paths, project
from flows.shared.process import Groups, alone
from flows.shared.promotion_tasks import promote_payload

ARTIFACT_SECONDS = 5.0
CHATTER = (
    "To track the changes",
    "git add",
    "To enable auto staging",
    "dvc config",
    "Use `dvc push`",
    "Updating lock file",
)
"""How lines of DVC begin that tell a person nothing here."""
Outcome = Literal["ran", "restored", "unchanged"]


class StageFailed(UserFault):
    """A stage ended with an error; the message carries its last lines."""


@dataclass(frozen=True, slots=True)
class Retrained:
    """What one run of the flow did."""

    outcomes: dict[str, Outcome]
    """Stage to what happened: it ran, DVC restored its outputs, or nothing had changed."""
    decision: PromotionDecision | None
    """None when promotion was not asked for."""


@flow(name="retrain", log_prints=False, on_failure=[tell_failure], on_crashed=[tell_failure])
def retrain(root: str | None = None, promote: bool = True) -> Retrained:
    """Bring every stage up to date, then decide over the model."""
    paths = project(Path(root) if root else None)
    with living(paths, str(flow_run.get_id())):
        return work(paths, promote=promote)


def work(paths: Paths, *, promote: bool) -> Retrained:
    """What the flow does, in the folder of `paths`; call it inside a flow."""
    with alone(paths.running) as groups, displays.opened() as display:
        drop_dead(paths)
        outcomes = walk(paths, groups, display)
    return Retrained(outcomes, promote_payload(paths) if promote else None)


def walk(paths: Paths, groups: Groups, display: displays.Display) -> dict[str, Outcome]:
    """Every stage in order, each as one task."""
    outcomes: dict[str, Outcome] = {}
    rows: list[StageRow] = []
    stages = graph.stage_names(paths.root)
    room = load_operations(paths).free_gigabytes
    for number, stage in enumerate(stages, start=1):
        display.stage_started(stage, number=number, count=len(stages))
        require_room(paths.root, gigabytes=room)
        started = time.monotonic()
        one = run_stage.with_options(name=f"dvc:{stage}", task_run_name=f"dvc:{stage}")
        outcomes[stage] = one(stage, paths, groups, display)
        rows.append(StageRow(stage, outcomes[stage], time.monotonic() - started))
        display.stage_ended(stage, outcome=rows[-1].outcome, seconds=rows[-1].seconds)
    show_stages(paths, rows)
    return outcomes


@task(cache_policy=NO_CACHE)
def run_stage(stage: str, paths: Paths, groups: Groups, display: displays.Display) -> Outcome:
    """Let DVC bring one stage up to date in a process group of its own, and pass its lines on."""
    if not graph.changes_of(paths.root, stage).any:
        return "unchanged"
    lines: deque[str] = deque(maxlen=200)
    tell = _Teller(stage, display)
    env = {
        "QANAT_PROGRESS": "1",
        "QANAT_FLOW_RUN_ID": str(flow_run.get_id() or "none"),
    }
    process = groups.start(["dvc", "--wait-for-lock", "repro", "--single-item", stage], cwd=paths.root, env=env)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if tell(line.rstrip()):
                lines.append(line.rstrip())
        status = process.wait()
    finally:
        groups.stop(process)
    if status != 0:
        raise StageFailed(_reason(stage, status, lines))
    tell.ended()
    return "ran" if any(line.startswith("Running stage") for line in lines) else "restored"


class _Teller:
    """Passes a stage's lines on: progress to bar and artifact, the rest to display and log."""

    def __init__(self, stage: str, display: displays.Display) -> None:
        self._display = display
        self._log = get_run_logger()
        description = f"Progress of stage {stage}"
        key = f"stage-{re.sub('[^a-z0-9-]', '-', stage.lower())}"
        artifact = create_progress_artifact(progress=0.0, key=key, description=description)
        assert isinstance(artifact, UUID), "outside an event loop Prefect answers at once"
        self._artifact = artifact
        self._next = 0.0

    def __call__(self, line: str) -> bool:
        """True for an ordinary line."""
        told = stage_progress.parse(line)
        if told is None:
            if line and not line.strip().startswith(CHATTER):
                self._display.line(line)
                self._log.info(line)
            return True
        self._display.progress(told)
        self._update(told)
        return False

    def _update(self, told: stage_progress.Progress) -> None:
        done = told.step >= told.total
        if done or time.monotonic() >= self._next:
            self._next = time.monotonic() + ARTIFACT_SECONDS
            update_progress_artifact(self._artifact, progress=100.0 * min(1.0, told.step / max(told.total, 1e-9)))
            self._log.info(stage_progress.sentence(told))

    def ended(self) -> None:
        """The stage succeeded, whatever it told last; some tell nothing, and one may have been restored."""
        update_progress_artifact(self._artifact, progress=100.0)


def _reason(stage: str, status: int, lines: deque[str]) -> str:
    """The stage's own complaint where it gave one (`stage: ...`), else its last lines."""
    own = [line for line in lines if line.startswith(f"{stage}: ")]
    told = own[-20:] or [line for line in lines if line and not line.startswith("ERROR: failed to reproduce")][-20:]
    return "\n".join([f"stage {stage} failed (status {status})", *told])
