"""Everything that is left running, under one supervisor, on loopback: the servers, pages, deployments and the watcher.

Takes the project's paths; runs until Ctrl-C or SIGTERM. A service more is one line in `services`. Leaves no process.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType

from flows.shared.environ import tracking_uri
from flows.shared.living import end_left_stages
from flows.shared.operations import load_operations
from flows.shared.paths import Paths
from flows.shared.process import alone
from flows.shared.registry_command import mlflow_command
from flows.shared.supervisor import LOOK_SECONDS, Service, Supervisor


def services(paths: Paths, *, cron: tuple[str, ...]) -> tuple[Service, ...]:
    """What runs, in the order of starting."""
    operations = load_operations(paths)
    ports, host = operations.ports, operations.serve.host
    prefect, mlflow = f"http://127.0.0.1:{ports.prefect}", f"http://127.0.0.1:{ports.mlflow}"
    models = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{ports.serve}"
    env = {"PREFECT_API_URL": f"{prefect}/api", "MLFLOW_TRACKING_URI": tracking_uri(paths)}
    server = (sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(ports.prefect))
    pages = tuple(mlflow_command(paths, port=ports.mlflow))
    annotating = f"http://127.0.0.1:{ports.annotation}"
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    schedule = tuple(word for one in cron for word in ("--cron", one))
    return (
        Service("prefect", server, health=f"{prefect}/api/health", page=prefect, env=env),
        Service("mlflow", pages, health=f"{mlflow}/health", page=mlflow, env=quiet),
        Service("annotation", _qanat("annotate"), health=f"{annotating}/health", page=annotating, env=env),
        Service("deployments", _qanat("deploy", *schedule), env=env, after=("prefect",)),
        Service("watch", _qanat("watch"), env=env, after=("prefect",)),
        Service("serve", _qanat("serve"), health=f"{models}/healthz", page=f"{models}/v1", after=("mlflow",)),
    )


def up(paths: Paths, *, cron: tuple[str, ...], say: Callable[[str], None]) -> None:
    """Run everything until this process is told to stop."""
    with _stoppable(), alone(paths.services) as groups:
        end_left_stages(paths)
        kept = Supervisor(services(paths, cron=cron), groups, cwd=paths.root, logs=paths.logs, record=paths.up, say=say)
        try:
            while True:
                kept.step()
                time.sleep(LOOK_SECONDS)
        finally:
            kept.stop()
            end_left_stages(paths)


def _qanat(*words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "flows.cli", *words)


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """The first SIGTERM or Ctrl-C ends the `with`; later ones do not disturb the stopping."""

    def stop(number: int, frame: FrameType | None) -> None:
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {one: signal.signal(one, stop) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
