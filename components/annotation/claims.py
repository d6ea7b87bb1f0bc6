"""Who works on which case: so that several annotators at once never do the same work twice by accident.

Takes cases in the order of their worth, an annotator and the time; gives the case to work on. A claim expires, so that
an annotator who left blocks nobody; what is written under an expired claim counts all the same. Kept in SQLite, whose
lock a dead process gives back. The annotations themselves are kept elsewhere (`components.records.intake`).
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

End = Literal["saved", "skipped"]
_TABLES = """
CREATE TABLE IF NOT EXISTS claims (case_id TEXT, annotator TEXT, until REAL, PRIMARY KEY (case_id, annotator));
CREATE TABLE IF NOT EXISTS ended (case_id TEXT, annotator TEXT, how TEXT, PRIMARY KEY (case_id, annotator));
"""
LOCK_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A case and how many people should look at it."""

    case_id: str
    people: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the queue is."""

    saved: Mapping[str, int]
    """Annotator to cases annotated."""
    skipped: Mapping[str, int]
    """Annotator to cases left to others."""
    at_work: Mapping[str, str]
    """Annotator to the case that is being worked on."""
    done: frozenset[str]
    """Cases that somebody annotated."""


class Claims:
    """The claims on one queue."""

    def __init__(self, file: Path, *, seconds: float) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file
        self._seconds = seconds
        with contextlib.closing(sqlite3.connect(file, timeout=LOCK_SECONDS)) as connection:
            connection.executescript(_TABLES)

    def next(self, wanted: Sequence[Wanted], annotator: str, now: float) -> str | None:
        """The case this annotator has begun, else the first one that still wants people; None when there is none."""
        with self._alone(now) as connection:
            mine = connection.execute("SELECT case_id FROM claims WHERE annotator = ?", (annotator,)).fetchall()
            begun = {row[0] for row in mine}
            free = (one for one in wanted if self._is_free(connection, one, annotator))
            chosen = next((one for one in wanted if one.case_id in begun), None) or next(free, None)
            if chosen is None:
                return None
            self._claim(connection, chosen.case_id, annotator, now)
            return chosen.case_id

    def take(self, case_id: str, annotator: str, now: float) -> None:
        """Work on this very case, whoever else does; what was begun before goes back to the queue."""
        with self._alone(now) as connection:
            self._claim(connection, case_id, annotator, now)

    def end(self, case_id: str, annotator: str, how: End) -> None:
        """The annotator is done with the case; one that was skipped may still be annotated, never the other way."""
        unless_saved = "ON CONFLICT DO UPDATE SET how = excluded.how WHERE ended.how = 'skipped'"
        with self._alone(None) as connection:
            connection.execute(f"INSERT INTO ended VALUES (?, ?, ?) {unless_saved}", (case_id, annotator, how))
            connection.execute("DELETE FROM claims WHERE case_id = ? AND annotator = ?", (case_id, annotator))

    def ended(self, case_id: str, annotator: str) -> End | None:
        """How the annotator left the case; None while there is no word."""
        with self._alone(None) as connection:
            query = "SELECT how FROM ended WHERE case_id = ? AND annotator = ?"
            row = connection.execute(query, (case_id, annotator)).fetchone()
        return row[0] if row else None

    def progress(self, now: float) -> Progress:
        """What everybody did, and who is at work."""
        with self._alone(now) as connection:
            ended = connection.execute("SELECT case_id, annotator, how FROM ended").fetchall()
            at_work = dict(connection.execute("SELECT annotator, case_id FROM claims").fetchall())
        saved = [(case_id, who) for case_id, who, how in ended if how == "saved"]
        return Progress(
            saved=_count(who for _, who in saved),
            skipped=_count(who for _, who, how in ended if how == "skipped"),
            at_work=at_work,
            done=frozenset(case_id for case_id, _ in saved),
        )

    @contextlib.contextmanager
    def _alone(self, now: float | None) -> Iterator[sqlite3.Connection]:
        """One at a time, whatever process; claims that expired by `now` are dropped first."""
        connection = sqlite3.connect(self._file, timeout=LOCK_SECONDS, isolation_level=None)
        with contextlib.closing(connection):
            connection.execute("BEGIN IMMEDIATE")
            if now is not None:
                connection.execute("DELETE FROM claims WHERE until <= ?", (now,))
            yield connection
            connection.execute("COMMIT")

    def _is_free(self, connection: sqlite3.Connection, one: Wanted, annotator: str) -> bool:
        """Whether it wants one more person, and this one has not spoken."""
        others = connection.execute(
            "SELECT annotator FROM claims WHERE case_id = :id UNION SELECT annotator FROM ended WHERE case_id = :id "
            "AND (how = 'saved' OR annotator = :me)",
            {"id": one.case_id, "me": annotator},
        ).fetchall()
        return (annotator,) not in others and len(others) < one.people

    def _claim(self, connection: sqlite3.Connection, case_id: str, annotator: str, now: float) -> None:
        connection.execute("DELETE FROM claims WHERE annotator = ?", (annotator,))
        connection.execute("INSERT INTO claims VALUES (?, ?, ?)", (case_id, annotator, now + self._seconds))


def _count(names: Iterator[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts
