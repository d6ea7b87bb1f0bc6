"""Settings that Prefect, MLflow and DVC read from the environment; call `prepare` before importing any of them.

Takes the project's paths; gives nothing, but fills in variables that are not set (what a person exported wins). Does
not import those libraries and does not start servers.
"""

from __future__ import annotations

import os

from flows.shared.paths import Paths

QUIET = {
    # nobody is told what runs here
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # no pickle: results are JSON, models are safetensors
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    # stages print their own progress; Prefect's copy of their lines goes to its server only
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
    "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
    "PREFECT_CLI_PROMPT": "false",
    "PYTHONUNBUFFERED": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


def tracking_uri(paths: Paths) -> str:
    """Where MLflow keeps its records: the environment's choice, else a file of this project."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{paths.mlflow_db}"


def prepare(paths: Paths) -> None:
    """Fill in the variables above, and the homes of the two servers below `.qanat/`."""
    homes = {"PREFECT_HOME": str(paths.prefect_home), "MLFLOW_TRACKING_URI": tracking_uri(paths)}
    for name, value in {**QUIET, **homes}.items():
        os.environ.setdefault(name, value)
