"""The command that serves MLflow's pages.

Takes the project's paths; gives the command. Does not import MLflow or run it.
"""

from __future__ import annotations

import sys

from flows.shared.environ import artifacts_uri, tracking_uri
from flows.shared.paths import Paths


def mlflow_command(paths: Paths, *, port: int) -> list[str]:
    """A server of this project's runs and models on loopback."""
    address = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", tracking_uri(paths), "--artifacts-destination", artifacts_uri(paths)]
    return [sys.executable, "-m", "mlflow", "server", *address, *stores]
