"""The stores that the settings name: does each answer? Takes the project's paths; gives one line a store.

Which stores there are is said by the environment (ledger, MLflow, artifacts, Prefect's API) and by DVC's settings
(remotes). `make` creates missing buckets, nothing else. Imports neither MLflow nor Prefect.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from flows.shared import graph
from flows.shared.environ import artifacts_uri, ledger_uri, tracking_uri
from flows.shared.faults import UserFault
from flows.shared.ledger_store import open_engine
from flows.shared.paths import Paths


@dataclass(frozen=True, slots=True)
class Store:
    """One store, and whether it answers."""

    name: str
    address: str
    """Without a password."""
    fault: str | None
    """Why it cannot be used; None when it can."""

    @property
    def line(self) -> str:
        return f"{self.name:<12}{self.address}  {self.fault or 'answers'}"


def stores(paths: Paths, *, make: bool) -> Iterator[Store]:
    """Every store, asked now."""
    yield _asked("ledger", ledger_uri(paths), lambda address: open_engine(address).dispose())
    yield _asked("mlflow", tracking_uri(paths), _database_or_server)
    if "QANAT_ARTIFACTS_URI" in os.environ or not tracking_uri(paths).startswith("http"):
        yield _asked("artifacts", artifacts_uri(paths), lambda address: _files(address, make=make))
    prefect = os.environ.get("PREFECT_API_URL")
    if prefect:
        yield _asked("prefect", prefect, lambda address: _answers(f"{address}/health"))
    for name, address in _remotes(paths).items():
        yield _asked(f"dvc {name}", address, lambda address: _files(address, make=make))


def _asked(name: str, address: str, ask: Callable[[str], None]) -> Store:
    try:
        ask(address)
    except (UserFault, SQLAlchemyError, httpx.HTTPError, OSError) as error:
        return Store(name, _shown(address), " ".join(str(error).split()) or type(error).__name__)
    return Store(name, _shown(address), None)


def _shown(address: str) -> str:
    parts = urlsplit(address)
    if parts.password is None:
        return address
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@")))


def _database_or_server(address: str) -> None:
    if address.startswith(("http://", "https://")):
        _answers(f"{address}/health")
        return
    url = make_url(address)
    if url.get_backend_name() == "sqlite" and url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def _answers(address: str) -> None:
    httpx.get(address, timeout=5.0).raise_for_status()


def _files(address: str, *, make: bool) -> None:
    """Whether a folder or bucket can be listed."""
    if not address.startswith("s3://"):
        Path(urlsplit(address).path or address).mkdir(parents=True, exist_ok=True)
        return
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ModuleNotFoundError:
        raise UserFault("S3 stores need the extra `cluster`: pip install -e '.[cluster]'") from None
    # a person waits for the answer: not as patient as a run
    client = boto3.client("s3", config=Config(retries={"total_max_attempts": 2}))
    bucket = urlsplit(address).netloc
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
            raise UserFault(str(error)) from None
        if not make:
            raise UserFault(f"there is no bucket {bucket}: `qanat stores --make` creates it") from None
        client.create_bucket(Bucket=bucket)
    except BotoCoreError as error:
        raise UserFault(str(error)) from None


def _remotes(paths: Paths) -> dict[str, str]:
    with graph.open_repo(paths.root) as repo:
        return {name: str(one["url"]) for name, one in repo.config["remote"].items()}
