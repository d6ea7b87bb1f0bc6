"""What Prefect's page of a run shows beside its logs: a table of the stages, and links to what MLflow holds.

Takes outcomes and addresses; writes artifacts of the flow run it is called in. The links lead to where MLflow answers
while `qanat up` or `qanat ui` runs, or to the server that MLFLOW_TRACKING_URI names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefect.artifacts import create_link_artifact, create_table_artifact

from flows.shared.environ import tracking_uri
from flows.shared.operations import load_operations
from flows.shared.paths import Paths

if TYPE_CHECKING:  # MLflow takes seconds to load, and a run without anything to do needs none of it
    from flows.shared.promoting import Desk
    from flows.shared.registry import Version

REPORTED = "evaluate"
"""The stage whose run carries the report."""


@dataclass(frozen=True, slots=True)
class StageRow:
    """A stage of this flow run."""

    stage: str
    outcome: str
    seconds: float


def show_stages(paths: Paths, rows: list[StageRow]) -> None:
    """What every stage did, how long it took, and the MLflow run that made its outputs."""
    table = [
        {
            "stage": row.stage,
            "outcome": row.outcome,
            "seconds": round(row.seconds, 1),
            "MLflow run": run_of(paths, row.stage) or "",
        }
        for row in rows
    ]
    create_table_artifact(table=table, key="stages", description="What every stage did")


def show_links(desk: Desk, version: Version) -> None:
    """Links to the version's page and to the run with the report."""
    links = {"model-version": (f"models/{desk.registry.model}/versions/{version.number}", f"version {version.number}")}
    run_id = run_of(desk.paths, REPORTED)
    if run_id is not None and desk.registry.has_run(run_id):
        page = f"{desk.registry.page_of_run(run_id)}/artifacts/{desk.paths.evaluation_html.name}"
        links["report"] = (page, "report of the evaluation")
    for key, (page, text) in links.items():
        create_link_artifact(
            link=f"{address(desk.paths)}/#/{page}", link_text=text, key=key, description=f"MLflow: {text}"
        )


def address(paths: Paths) -> str:
    """Where MLflow's pages are."""
    uri = tracking_uri(paths)
    served = uri.startswith(("http://", "https://"))
    return uri.rstrip("/") if served else f"http://127.0.0.1:{load_operations(paths).ports.mlflow}"


def run_of(paths: Paths, stage: str) -> str | None:
    """The MLflow run that made the stage's outputs; None where it is not known."""
    try:
        reference: Mapping[str, object] = json.loads(paths.run_ref(stage).read_bytes())
        return str(reference["mlflow_run_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
