"""The whole job with everything that is kept in Postgres and S3, and with servers that are restarted during it.

Takes a scratch folder; gives rows of results. Needs the extra `cluster-dev` and Postgres's server programs. Called by
`tests/benchmarks/scale.py`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from components.experiments.plan import Measured as Row
from flows.shared.paths import Paths
from flows.shared.prefect_server import free_port, is_healthy
from tests.benchmarks.harness import REPOSITORY, cloned, figure, told
from tests.benchmarks.two_nodes import NAMESPACE
from tests.flows.conftest import own_environment
from tests.real_stores import PASSWORD, S3, Postgres, binaries, postgres_server, s3_server

PROFILE = "demo"
AWAY_SECONDS = 20.0
"""How long the S3 store is away."""


def stores(folder: Path) -> list[Row]:
    """`qanat run` of a fresh clone on Postgres and S3; its evaluation against the one that this checkout's run left."""
    here = Paths(REPOSITORY)
    if not here.evaluation_rows.is_file():
        sys.exit("data/reports/evaluation is missing: `qanat run` first, the evaluation is compared with it")
    with _elsewhere(folder) as (paths, _, _, env):
        _qanat(paths, env, "stores", "--make")
        began = time.perf_counter()
        ended = _qanat(paths, env, "run", "--profile", PROFILE)
        seconds = time.perf_counter() - began
        pushed = subprocess.run(["dvc", "push", "-q"], cwd=paths.root, env=env, check=False).returncode
        ours, theirs = (one.evaluation_rows.read_text().splitlines() for one in (paths, here))
        differ = len(set(ours) ^ set(theirs))
        kept = sorted(name for name in (".qanat/mlflow.db", ".qanat/ledger.db") if (paths.root / name).exists())
    return [
        figure("demo on Postgres and S3: exit status", [ended], unit="", bar="0"),
        figure("demo on Postgres and S3: wall", [seconds], unit="s"),
        figure("demo on Postgres and S3: evaluation rows unlike the embedded run's", [differ], unit="rows", bar="0"),
        figure("demo on Postgres and S3: exit status of dvc push", [pushed], unit="", bar="0"),
        figure("demo on Postgres and S3: databases left in files", [len(kept)], unit="files", bar="0"),
    ]


def restarts(folder: Path) -> list[Row]:
    """Postgres, Prefect's server and the S3 store, each restarted in the middle of a run of smoke, which is asked again
    until it ends well."""
    rows = []
    with _elsewhere(folder) as (paths, postgres, store, env):
        _qanat(paths, env, "stores", "--make")
        port = free_port()
        env["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
        server = _prefect(paths, env, port)

        def prefect_again() -> None:
            nonlocal server
            _end(server)
            server = _prefect(paths, env, port)

        try:
            rows.append(_restarted(paths, env, "Postgres", "clone", lambda: _postgres_again(postgres)))
            _change(paths, seed=1)
            rows.append(_restarted(paths, env, "Prefect's server", "clone", prefect_again))
            _change(paths, seed=2)
            # before the stages that write models to it; the first of them finds nobody there
            rows.append(_restarted(paths, env, "S3", "clone", lambda: _s3_again(store)))
        finally:
            _end(server)
    return rows


def _change(paths: Paths, *, seed: int) -> None:
    """So that there is something to run."""
    paths.params.write_text(re.sub(r"(?m)^seed: \d+$", f"seed: {seed}", paths.params.read_text()))


def head(folder: Path) -> list[Row]:
    """The only machine of a Ray cluster ends in the middle of a stage, and comes back."""
    root = folder / "cluster"
    done = subprocess.run(
        [*NAMESPACE, sys.executable, "-m", "tests.benchmarks.lost_head", str(cloned(root))],
        cwd=REPOSITORY, env={**os.environ, **own_environment(root / "mlflow.db"), "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    for lines in found["said"]:
        told("  " + "\n  ".join(lines))
    measured = "Ray's head restarted during a run: runs until one ended well"
    return [figure(measured, [found["runs"]], unit="runs", bar="<= 2")]


def _restarted(paths: Paths, env: Mapping[str, str], what: str, stage: str, restart: Callable[[], None]) -> Row:
    """How many runs it took until one ended well: 1 when the first outlived the restart."""
    log = paths.root / "run.log"
    for count in range(1, 4):
        with log.open("ab") as stream:
            run = subprocess.Popen(
                [sys.executable, "-m", "flows.cli", "run", "--profile", "smoke"],
                cwd=paths.root, env=dict(env), stdout=stream, stderr=stream,
            )  # fmt: skip
        if count == 1:
            while not (paths.work(stage) / "run.json").exists():
                if run.poll() is not None:
                    sys.exit(f"the run ended before {stage} began:\n{log.read_text(errors='replace')[-2000:]}")
                time.sleep(0.2)
            told(f"  {what} restarted during {stage}")
            restart()
        if run.wait() == 0:
            break
        told("  " + "\n  ".join(log.read_text(errors="replace").splitlines()[-12:]))
    return figure(f"{what} restarted during a run: runs until one ended well", [count], unit="runs", bar="<= 2")


@contextmanager
def _elsewhere(folder: Path) -> Iterator[tuple[Paths, Postgres, S3, dict[str, str]]]:
    """A fresh clone whose stores are a Postgres server and an S3 store, and the environment that says so."""
    programs = binaries()
    if programs is None:
        sys.exit("no Postgres server is installed here (`initdb` is not found)")
    clone = cloned(folder / "clone")
    shutil.copy(clone / "infra" / "dvc.s3.config", clone / ".dvc" / "config.local")
    with postgres_server(programs) as postgres, s3_server() as store:
        env = {
            **os.environ,
            **own_environment(folder / "unused.db"),
            **store.environment,
            "PYTHONPATH": str(clone),
            "PGPASSWORD": PASSWORD,
            "MLFLOW_TRACKING_URI": postgres.address("mlflow"),
            "QANAT_ARTIFACTS_URI": "s3://qanat-mlflow",
            "QANAT_LEDGER_URI": postgres.address("ledger"),
            "PREFECT_API_DATABASE_CONNECTION_URL": postgres.address("prefect", "asyncpg"),
        }
        yield Paths(clone), postgres, store, env


def _qanat(paths: Paths, env: Mapping[str, str], *words: str) -> int:
    return subprocess.run([sys.executable, "-m", "flows.cli", *words], cwd=paths.root, env=env, check=False).returncode


def _postgres_again(postgres: Postgres) -> None:
    postgres.control("--mode", "immediate", "stop")
    postgres.control("start")


def _s3_again(store: S3) -> None:
    store.stop()
    time.sleep(AWAY_SECONDS)
    store.start_again()


def _prefect(paths: Paths, env: Mapping[str, str], port: int) -> subprocess.Popen[bytes]:
    command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (paths.root / "prefect.log").open("ab") as log:
        server = subprocess.Popen(command, cwd=paths.root, env=dict(env), stdout=log, stderr=log)
    while not is_healthy(f"http://127.0.0.1:{port}/api"):
        if server.poll() is not None:
            sys.exit(f"Prefect's server ended:\n{(paths.root / 'prefect.log').read_text()[-3000:]}")
        time.sleep(0.5)
    return server


def _end(server: subprocess.Popen[bytes]) -> None:
    server.kill()
    server.wait()
