"""Whether a run would do anything.

Takes the project's paths; gives yes or no. Starts no server and imports neither Prefect nor MLflow.
"""

from __future__ import annotations

from flows.shared.decisions import read_decision
from flows.shared.graph import changed_stages
from flows.shared.paths import Paths


def nothing_to_do(paths: Paths) -> bool:
    """True when no stage would run and the present `dvc.lock` was decided over already."""
    return read_decision(paths) is not None and not changed_stages(paths.root)
