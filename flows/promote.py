"""Register, gate and promote what is on disk, without retraining. Takes the project's folder; gives the decision."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from components.schema.report import PromotionDecision
from flows.shared.paths import project
from flows.shared.promotion_tasks import promote_payload


@flow(name="promote")
def promote(root: str | None = None) -> PromotionDecision:
    """Decide over the payload of `mlflow/registry.yaml`."""
    return promote_payload(project(Path(root) if root else None))
