"""Real stores for tests; they need the extra `cluster-dev` (`make test-cluster`), and Postgres its server as well.

Without them, tests of stores are skipped and say so.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import real_stores

EXTRA = "the extra `cluster-dev` is not installed: `make test-cluster`"


@pytest.fixture(scope="session")
def postgres() -> Iterator[int]:
    """Port of a Postgres server with the databases prefect, mlflow and ledger, and the user qanat."""
    pytest.importorskip("psycopg2", reason=EXTRA)
    programs = real_stores.binaries()
    if programs is None:
        pytest.skip("no Postgres server is installed here")
    with real_stores.postgres_server(programs) as server:
        yield server.port


@pytest.fixture
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `with-secrets` gives it to a container."""
    monkeypatch.setenv("PGPASSWORD", real_stores.PASSWORD)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[real_stores.S3]:
    """An empty S3 store, which everything that speaks S3 finds by AWS_* variables."""
    pytest.importorskip("boto3", reason=EXTRA)
    pytest.importorskip("moto.server", reason=EXTRA)
    with real_stores.s3_server() as store:
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        # MLflow keeps a client for every address that it was told so, and else one for all
        monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", store.address)
        yield store
