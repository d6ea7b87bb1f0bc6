"""Settings that Prefect, MLflow and DVC read from the environment.

Importing this module fills in the general ones; the package `flows` does so before it imports any of those libraries.
`prepare` adds what depends on the project. What a person exported wins. Imports none of those libraries.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass

from flows.shared.faults import UserFault
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
    # stages print their own progress and `qanat` tells faults: Prefect's copy of both goes to its server only
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
    "PREFECT_CLI_PROMPT": "false",
    # by default a wanted run waits up to 10 s to be seen, and a dead one 3 minutes for its first missing heartbeat
    "PREFECT_RUNNER_POLL_FREQUENCY": "1",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    # libraries' own bars: they break into stages' lines, and stand in front of a fault's reason
    "TQDM_DISABLE": "1",
    "PYTHONUNBUFFERED": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # traces are few, and are kept before the stage that logs them ends
    "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    # an S3 store that is restarted is asked again for about a minute, as MLflow's is (`patience`)
    "AWS_RETRY_MODE": "standard",
    "AWS_MAX_ATTEMPTS": "10",
}


def tracking_uri(paths: Paths) -> str:
    """Where MLflow keeps its records: the environment's choice, else a file of this project."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{paths.mlflow_db}"


def artifacts_uri(paths: Paths) -> str:
    """Where MLflow keeps files when no server decides: the environment's choice (s3://...), else this project's."""
    return os.environ.get("QANAT_ARTIFACTS_URI") or paths.mlflow_artifacts.resolve().as_uri()


def ledger_uri(paths: Paths) -> str:
    """Where the ledger of promotions is: the environment's choice (SQLite or Postgres), else a file of this project."""
    return os.environ.get("QANAT_LEDGER_URI") or f"sqlite:///{paths.ledger_db}"


@dataclass(frozen=True, slots=True)
class Parallel:
    """A crew of workers that shards are dealt to."""

    workers: int


def parallel() -> Parallel | None:
    """The crew that QANAT_PARALLEL=ray asks for (QANAT_WORKERS, else two); None: a stage does its work itself.

    Results do not depend on it, so it is no parameter: changing it must not rerun a stage.
    """
    engine, workers = os.environ.get("QANAT_PARALLEL") or "local", _count("QANAT_WORKERS", 2)
    if engine not in ("local", "ray"):
        raise UserFault(f"QANAT_PARALLEL: must be local or ray, is {engine!r}")
    return Parallel(workers) if engine == "ray" else None


def trainers() -> int:
    """Processes that QANAT_TRAINERS asks for where a model is trained; 1: the stage alone."""
    return _count("QANAT_TRAINERS", 1)


def sharded() -> bool:
    """Whether QANAT_SHARDED=1 asks that each of the trainers keep only a share of the weights."""
    value = os.environ.get("QANAT_SHARDED") or "0"
    if value not in ("0", "1"):
        raise UserFault(f"QANAT_SHARDED: must be 0 or 1, is {value!r}")
    return value == "1"


def rank() -> int | None:
    """This process's place among those that torchrun started; None where it started none."""
    place = os.environ.get("RANK")
    return None if place is None else int(place)


def beside() -> int:
    """How many processes torchrun started on this machine, this one included; 1 where it started none."""
    return _count("LOCAL_WORLD_SIZE", 1)


def _count(name: str, default: int) -> int:
    value = os.environ.get(name) or str(default)
    if not value.isdecimal() or int(value) < 1:
        raise UserFault(f"{name}: must be a whole number >= 1, is {value!r}")
    return int(value)


def actor() -> str:
    """Who is at work: QANAT_ACTOR, else the name of the system's user."""
    try:
        return os.environ.get("QANAT_ACTOR") or getpass.getuser()
    except (KeyError, OSError):  # containers run under numbers that have no name
        return f"user {os.getuid()}"


def prepare(paths: Paths) -> None:
    """Fill in the homes of the two servers, below `.qanat/`."""
    homes = {"PREFECT_HOME": str(paths.prefect_home), "MLFLOW_TRACKING_URI": tracking_uri(paths)}
    _fill_in(homes)


def _fill_in(values: Mapping[str, str]) -> None:
    for name, value in values.items():
        os.environ.setdefault(name, value)


_fill_in(QUIET)
