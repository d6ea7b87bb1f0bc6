"""What is done with the champion, as flows: decide over what is on disk, promote a version, roll back, put right.

Takes the project's folder; gives decisions or lines for a person. Does not retrain.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from components.schema.report import PromotionDecision
from flows.shared import by_hand
from flows.shared.notices import tell_failure
from flows.shared.paths import project
from flows.shared.promoting import Desk, Ended, open_desk
from flows.shared.promotion_tasks import promote_payload

HOOKS: dict[str, Any] = {"on_failure": [tell_failure], "on_crashed": [tell_failure]}


@flow(name="promote", **HOOKS)
def promote(root: str | None = None) -> PromotionDecision:
    """Register, gate and promote the payload of `mlflow/registry.yaml`."""
    return promote_payload(project(Path(root) if root else None))


@flow(name="promote-version", **HOOKS)
def promote_version(
    number: str, reason: str, by: str | None = None, force: bool = False, now: bool = False, root: str | None = None
) -> Ended:
    """Make a registered version champion; `now`: without the approval that is required, on the word of `by`."""
    return by_hand.promote_version(_desk(root), number, reason=reason, by=by, force=force, now=now)


@flow(name="rollback", **HOOKS)
def rollback(reason: str, to: str | None = None, by: str | None = None, root: str | None = None) -> Ended:
    """The champion before, again; the present one is quarantined."""
    return by_hand.rollback(_desk(root), reason=reason, to=to, by=by)


@flow(name="reconcile", **HOOKS)
def reconcile(restore: bool = False, root: str | None = None) -> list[str]:
    """Finish or abort promotions that were left half done, and tell of aliases moved by hand."""
    return by_hand.reconcile(_desk(root), restore=restore)


def _desk(root: str | None) -> Desk:
    return open_desk(project(Path(root) if root else None))
