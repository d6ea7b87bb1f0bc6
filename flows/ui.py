"""The pages a person looks at: MLflow's and Prefect's, on loopback, until Ctrl-C. Takes ports; gives nothing."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

from flows.shared import prefect_server
from flows.shared.paths import Paths
from flows.shared.process import Groups, alone
from flows.shared.registry_command import mlflow_command

WAIT_SECONDS = 300.0


def serve(paths: Paths, *, mlflow_port: int, prefect_port: int, say: Callable[[str], None]) -> None:
    """Both servers, until this process is told to stop."""
    with _stoppable(), alone(paths.store / "ui.json") as groups:
        _start_mlflow(paths, groups, mlflow_port)
        say(f"MLflow   http://127.0.0.1:{mlflow_port}")
        prefect_server.start(paths, groups, port=prefect_port)
        say(f"Prefect  http://127.0.0.1:{prefect_port}")
        say("Ctrl-C stops both.")
        while True:
            time.sleep(1)


def _start_mlflow(paths: Paths, groups: Groups, port: int) -> None:
    paths.logs.mkdir(parents=True, exist_ok=True)
    log = paths.logs / "mlflow-server.log"
    command = mlflow_command(paths, port=port)
    process = groups.start(command, cwd=paths.root, env={"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}, log=log)
    end = time.monotonic() + WAIT_SECONDS
    while not prefect_server.answers(f"http://127.0.0.1:{port}/health"):
        if process.poll() is not None or time.monotonic() > end:
            raise prefect_server.ServerFailed(f"the MLflow server did not start: see {log}")
        time.sleep(0.3)


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM ends the `with` as Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
