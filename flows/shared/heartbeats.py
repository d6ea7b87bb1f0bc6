"""Runs of other machines that went silent: an automation marks them as CRASHED.

Takes a Prefect server; makes the automation once. Open-source Prefect leaves a run RUNNING for ever when its worker
dies; runs of this machine are reconciled at start (`flows/shared/living.py`).
"""

from __future__ import annotations

from datetime import timedelta

from prefect.automations import AutomationCore
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

NAME = "qanat: runs without a heartbeat"
SILENT_SECONDS = 600
"""Three heartbeats by Prefect's default and a little more: other flows of the same server must not be hit."""
ENDS = ("Completed", "Failed", "Cancelled", "Crashed", "Paused", "Suspended")


def watch_heartbeats() -> None:
    """Make the automation, unless the server has it."""
    with get_client(sync_client=True) as client:
        if not client.read_automations_by_name(NAME):
            client.create_automation(_automation())


def _automation() -> AutomationCore:
    trigger = EventTrigger(
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{state}" for state in ENDS)},
        match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=SILENT_SECONDS),
    )
    crashed = ChangeFlowRunState(
        name=None, state=StateType.CRASHED, force=False, message="No heartbeat: its process is gone."
    )
    return AutomationCore(name=NAME, description="Made by `qanat deploy`.", trigger=trigger, actions=[crashed])
