"""The ledger's tables and the database they are in: SQLite in the project's store, or Postgres.

Takes an SQLAlchemy URL; gives an engine whose transactions come one at a time, across processes and machines. The
lock is the database's own, so a process that dies gives it back and leaves nothing half written. Knows no promotions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, Text, UniqueConstraint, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError

from flows.shared.faults import UserFault

LOCK_SECONDS = 60
_ADVISORY_LOCK = 1_903_718_401
"""Any number: the name of our lock among Postgres's advisory locks."""

metadata = MetaData()

ENTRIES = Table(
    "ledger_entries",
    metadata,
    Column("model", String(200), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("promotion_id", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("at", String(40), nullable=False),
    Column("body", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    UniqueConstraint("promotion_id", "state"),
)
"""One row a transition, only ever added to."""

HEADS = Table(
    "ledger_heads",
    metadata,
    Column("model", String(200), primary_key=True),
    Column("champion", String(40)),
    Column("open_id", String(64)),
    Column("open_state", String(16)),
    Column("number", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
)
"""One row a model: what compare-and-swap compares."""

LOOKS = Table(
    "ledger_looks",
    metadata,
    Column("model", String(200), primary_key=True),
    Column("champion", String(80), primary_key=True),
    Column("problems", String(64), primary_key=True),
    Column("challenger", String(80), primary_key=True),
    Column("look", Integer, nullable=False),
    Column("at", String(40), nullable=False),
    UniqueConstraint("model", "champion", "problems", "look"),
)
"""Which challenger of a champion was the how many-th on a set of problems."""

SERVINGS = Table(
    "ledger_servings",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("model", String(200), nullable=False),
    Column("version", String(40), nullable=False),
    Column("digest", String(80), nullable=False),
    Column("server", String(200), nullable=False),
    Column("fault", Text),
    Column("at", String(40), nullable=False),
)
"""What servers reported."""


def open_engine(address: str) -> Engine:
    """The engine, its tables made where they are missing."""
    url = _checked(address)
    if url.get_backend_name() == "sqlite":
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url, connect_args={"timeout": LOCK_SECONDS})
        event.listen(engine, "connect", _leave_transactions_to_us)
        event.listen(engine, "begin", _begin_immediate)
    else:
        engine = create_engine(url, pool_pre_ping=True)
        event.listen(engine, "begin", _wait_for_advisory_lock)
    try:
        with engine.begin() as connection:
            metadata.create_all(connection)
    except OperationalError as error:
        reason = str(error.orig).splitlines()[0]
        raise UserFault(f"the ledger {url.render_as_string()} cannot be opened: {reason}") from None
    return engine


def _checked(address: str) -> URL:
    try:
        url = make_url(address)
        url.get_dialect().import_dbapi()
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise UserFault(f"QANAT_LEDGER_URI: not a database that can be opened: {error}") from None
    if url.get_backend_name() not in {"sqlite", "postgresql"}:
        raise UserFault(f"QANAT_LEDGER_URI: must be of sqlite or postgresql, is {url.render_as_string()}")
    if url.get_backend_name() == "sqlite" and not url.database:
        raise UserFault("QANAT_LEDGER_URI: a ledger in memory would be forgotten: name a file")
    return url


def _leave_transactions_to_us(connection: Any, record: Any) -> None:
    """Without this, Python's sqlite3 begins transactions when it sees fit."""
    connection.isolation_level = None


def _begin_immediate(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _wait_for_advisory_lock(connection: Any) -> None:
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
