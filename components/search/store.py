"""Node rows and searched trees on disk.

Takes rows and trajectories; gives Parquet and JSONL files, and reads them back. Files appear whole or not at all
(written beside, then renamed). A tree counts as saved once its Parquet file is there: it is written last. The same
rows give the same bytes. Does not decide what is searched again: see `components.search.selfplay`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.records.jsonl import read_records, write_records
from components.schema.trajectory import Trajectory
from components.search.rows import as_mapping
from components.search.schema import NODE_SCHEMA, NodeRow
from components.search.selfplay import Found


def write_nodes(path: Path, rows: Sequence[NodeRow]) -> None:
    """Put the rows at `path` as Parquet with `NODE_SCHEMA`."""
    table = pa.Table.from_pylist([as_mapping(row) for row in rows], schema=NODE_SCHEMA)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as stream:
            pq.write_table(table, stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_nodes(path: Path) -> tuple[NodeRow, ...]:
    """The rows that `write_nodes` wrote."""
    rows: list[dict[str, Any]] = pq.read_table(path, schema=NODE_SCHEMA).to_pylist()
    return tuple(NodeRow(**{name: _frozen(value) for name, value in row.items()}) for row in rows)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def save_tree(folder: Path, name: str, found: Found) -> None:
    """Put a searched tree into the folder; once this returns it survives a kill."""
    write_records(folder / f"{name}.jsonl", found.trajectories)
    write_nodes(folder / f"{name}.parquet", found.rows)


def load_tree(folder: Path, name: str) -> Found | None:
    """The tree of that name, or None if it was not saved whole."""
    nodes = folder / f"{name}.parquet"
    if not nodes.exists():
        return None
    return Found(rows=read_nodes(nodes), trajectories=read_records(folder / f"{name}.jsonl", Trajectory))
