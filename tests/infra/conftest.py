"""Real stores for tests: a Postgres server of one's own, and an S3 store (moto's server), both on loopback.

Both need the extra `cluster-dev` (`make test-cluster`), and Postgres its server as well; without them, tests of stores
are skipped and say so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from flows.shared.prefect_server import free_port

NOBODY = 65534
PASSWORD = "as/any@word"
EXTRA = "the extra `cluster-dev` is not installed: `make test-cluster`"


def _binaries() -> Path | None:
    """The folder of `initdb`: on the path, or where Debian keeps it."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "initdb").is_file()), None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[int]:
    """Port of a Postgres server with the databases prefect, mlflow and ledger, and the user qanat."""
    pytest.importorskip("psycopg2", reason=EXTRA)
    binaries = _binaries()
    if binaries is None:
        pytest.skip("no Postgres server is installed here")
    folder = Path(tempfile.mkdtemp(prefix="qanat-postgres-", dir="/tmp"))
    user = NOBODY if os.getuid() == 0 else None  # Postgres refuses to run as root
    if user is not None:
        os.chown(folder, user, user)
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)

    def run(name: str, *arguments: str) -> None:
        command = [str(binaries / name), *arguments]
        subprocess.run(command, check=True, capture_output=True, user=user, group=user, cwd=folder)

    data, port = str(folder / "data"), free_port()
    secret = ("--username=qanat", f"--pwfile={folder / 'password'}", "--auth=scram-sha-256")
    run("initdb", "--pgdata", data, *secret, "--no-sync", "--no-locale", "--encoding=UTF8")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    run("pg_ctl", "--pgdata", data, "--wait", "--log", str(folder / "log"), "--options", options, "start")
    try:
        _make_databases(binaries, port)
        yield port
    finally:
        run("pg_ctl", "--pgdata", data, "--mode", "immediate", "stop")
        shutil.rmtree(folder)


def _make_databases(binaries: Path, port: int) -> None:
    """By the script that the compose file mounts."""
    script = Path(__file__).resolve().parents[2] / "infra" / "databases.sql"
    command = [str(binaries / "psql"), "--host=127.0.0.1", f"--port={port}", "--username=qanat", "--dbname=postgres"]
    environment = {**os.environ, "PGPASSWORD": PASSWORD}
    subprocess.run([*command, f"--file={script}"], check=True, capture_output=True, env=environment)


@pytest.fixture
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `with-secrets` gives it to a container."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of an empty S3 store, which everything that speaks S3 finds by AWS_* variables."""
    pytest.importorskip("boto3", reason=EXTRA)
    server = pytest.importorskip("moto.server", reason=EXTRA).ThreadedMotoServer(
        ip_address="127.0.0.1", port=0, verbose=False
    )
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    httpx.post(f"{address}/moto-api/reset").raise_for_status()  # servers of one process share what they hold
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "qanat",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    yield address
    server.stop()
