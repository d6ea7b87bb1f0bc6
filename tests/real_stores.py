"""Real stores for tests and benchmarks: a Postgres server of one's own, and an S3 store (moto's), both on loopback.

Each lives for the time of a `with`. Postgres needs its server's programs; the S3 store the extra `cluster-dev`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from flows.shared.prefect_server import free_port

NOBODY = 65534
PASSWORD = "as/any@word"
DATABASES = Path(__file__).resolve().parents[1] / "infra" / "databases.sql"


def binaries() -> Path | None:
    """The folder of `initdb`: on the path, or where Debian keeps it; None where there is no Postgres server."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "initdb").is_file()), None)


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server with the databases prefect, mlflow and ledger, the user qanat and `PASSWORD`."""

    folder: Path
    programs: Path
    port: int

    def run(self, name: str, *arguments: str) -> None:
        """One of Postgres's programs, as a user that is not root: the server refuses to be."""
        user = NOBODY if os.getuid() == 0 else None
        command = [str(self.programs / name), *arguments]
        subprocess.run(command, check=True, capture_output=True, user=user, group=user, cwd=self.folder)

    def control(self, *words: str) -> None:
        """`pg_ctl` on the server's data."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder} -c fsync=off"
        self.run("pg_ctl", "--pgdata", str(self.folder / "data"), "--wait", "--log", str(self.folder / "log"),
                 "--options", options, *words)  # fmt: skip

    def address(self, database: str, driver: str = "psycopg2") -> str:
        """Without the password, which libpq's PGPASSWORD tells."""
        return f"postgresql+{driver}://qanat@127.0.0.1:{self.port}/{database}"


@contextmanager
def postgres_server(programs: Path) -> Iterator[Postgres]:
    """A new server; its data are removed with it."""
    folder = Path(tempfile.mkdtemp(prefix="qanat-postgres-", dir="/tmp"))
    if os.getuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)
    server = Postgres(folder, programs, free_port())
    secret = ("--username=qanat", f"--pwfile={folder / 'password'}", "--auth=scram-sha-256")
    server.run("initdb", "--pgdata", str(folder / "data"), *secret, "--no-sync", "--no-locale", "--encoding=UTF8")
    server.control("start")
    try:
        _make_databases(server)
        yield server
    finally:
        server.control("--mode", "immediate", "stop")
        shutil.rmtree(folder)


def _make_databases(server: Postgres) -> None:
    """By the script that the compose file mounts."""
    reach = ("--host=127.0.0.1", f"--port={server.port}", "--username=qanat", "--dbname=postgres")
    command = [str(server.programs / "psql"), *reach, f"--file={DATABASES}"]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PGPASSWORD": PASSWORD})


class S3:
    """A running S3 store on loopback. What it holds is this process's: it outlives a restart of the server."""

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        self._kind = ThreadedMotoServer
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        self._port = int(self._server.get_host_and_port()[1])
        self.address = f"http://127.0.0.1:{self._port}"
        httpx.post(f"{self.address}/moto-api/reset").raise_for_status()  # servers of one process share what they hold

    @property
    def environment(self) -> dict[str, str]:
        """The AWS_* variables by which everything that speaks S3 finds it."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": "qanat",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def stop(self) -> None:
        """Connections are refused from now on."""
        self._server.stop()

    def start_again(self) -> None:
        """At the same address, with what it held."""
        self._server = self._kind(ip_address="127.0.0.1", port=self._port, verbose=False)
        self._server.start()


@contextmanager
def s3_server() -> Iterator[S3]:
    """An empty S3 store."""
    server = S3()
    try:
        yield server
    finally:
        server.stop()
