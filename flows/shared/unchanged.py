"""Whether a run would do anything.

Takes the project's paths; gives yes or no. Starts no server and imports no Prefect.
"""

from __future__ import annotations

from flows.shared.graph import changed_stages
from flows.shared.paths import Paths
from flows.shared.promotion import read_decision


def nothing_to_do(paths: Paths) -> bool:
    """True when no stage would run and the present `dvc.lock` was decided over already."""
    return read_decision(paths) is not None and not changed_stages(paths.root)
