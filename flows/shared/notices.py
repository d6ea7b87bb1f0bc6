"""What Prefect's hooks and the promotion tell people of. Takes flow runs and decisions; gives nothing.

Whatever goes wrong is logged only.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from flows.shared.notify import Notice, notify
from flows.shared.operations import load_operations
from flows.shared.paths import Paths, project

LOG = logging.getLogger("prefect.qanat")


def tell(paths: Paths, notice: Notice) -> None:
    """Tell whoever asked for it in `infra/qanat.yaml`."""
    for complaint in notify(load_operations(paths).notify, notice):
        LOG.warning(complaint)


def tell_failure(flow: Any, flow_run: Any, state: Any) -> None:
    """Prefect's hook for runs that failed or crashed."""
    root = (flow_run.parameters or {}).get("root")
    try:
        paths = project(Path(root) if root else None)
        title = f"{flow.name} {state.name.lower()}: run {flow_run.name}"
        tell(paths, Notice("run-failed", title, str(state.message or "")))
    except (ValueError, OSError) as error:  # a telling that fails must not hide the failure it is about
        LOG.warning("nobody was told of run %s: %s", flow_run.name, error)
