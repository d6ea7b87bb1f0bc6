"""The work of annotating, without its pages: a queue of cases, who is at which, and what becomes of an entry.

Takes where cases and annotations are, and a clock; gives cases and outcomes. An entry is added through the intake
first and then struck off the queue, so that a crash between the two loses nothing and repeats nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from components.annotation.agreement import Agreement
from components.annotation.case import Case
from components.annotation.claims import Claims, Progress, Wanted
from components.annotation.door import add_rows
from components.annotation.entries import Fields, Verdict, annotation_id, row_of
from components.annotation.selection import Ranked
from components.records.intake import Added, Intake
from components.records.quarantine import Reject
from components.schema.identity import stable_hash
from components.schema.tool import ToolSpec


@dataclass(frozen=True, slots=True)
class Saved:
    """What became of an entry."""

    annotation_id: str
    added: Added | None
    """What the intake made of it; None where this person had annotated the case before: the first word stands."""

    @property
    def new(self) -> bool:
        """Whether there is a new annotation."""
        return self.added is not None and bool(self.added.added)

    @property
    def rejects(self) -> tuple[Reject, ...]:
        """Why it was refused; empty when it was not."""
        return () if self.added is None or _is_taken(self.added) else self.added.rejects


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything that the first page tells."""

    cases: int
    progress: Progress
    agreements: tuple[Agreement, ...]


@dataclass(frozen=True, slots=True)
class Workplace:
    """One queue and its annotators."""

    queue: Callable[[], Sequence[Ranked]]
    """The cases as the records stand now, the most instructive first."""
    agreements: Callable[[], tuple[Agreement, ...]]
    """Of everybody who annotated, whatever way it came in."""
    claims: Claims
    intake: Intake
    tools: tuple[ToolSpec, ...]
    clock: Callable[[], datetime]
    """Now, with its time zone."""
    doubled: float
    """Share of cases that two people are to annotate, so that their agreement is known."""

    def next_case(self, annotator: str) -> str | None:
        """The case to work on; None when nothing is left for this person."""
        wanted = [Wanted(one.case.case_id, self._people(one.case)) for one in self.queue()]
        return self.claims.next(wanted, annotator, self._now())

    def find(self, case_id: str) -> Ranked | None:
        """The case with this id; None when the records do not show it any more."""
        return next((one for one in self.queue() if one.case.case_id == case_id), None)

    def open(self, case: Case, annotator: str) -> bool:
        """Work on this case; False where the person annotated it already."""
        if self.claims.ended(case.case_id, annotator) == "saved":
            return False
        self.claims.take(case.case_id, annotator, self._now())
        return True

    def save(self, case: Case, verdict: Verdict, fields: Fields, annotator: str) -> Saved:
        """Add what was entered; raises `BadEntry` where it says nothing."""
        wanted = annotation_id(case, annotator)
        if self.claims.ended(case.case_id, annotator) == "saved":
            return Saved(wanted, None)
        created = self.clock().isoformat(timespec="seconds")
        row = row_of(case, verdict, fields, annotator=annotator, created=created)
        saved = Saved(wanted, add_rows(self.intake, [row], tools=self.tools))
        if not saved.rejects:
            self.claims.end(case.case_id, annotator, "saved")
        return saved

    def skip(self, case_id: str, annotator: str) -> None:
        """Leave the case to others."""
        self.claims.end(case_id, annotator, "skipped")

    def standing(self) -> Standing:
        """Progress and agreement."""
        return Standing(len(self.queue()), self.claims.progress(self._now()), self.agreements())

    def _people(self, case: Case) -> int:
        return 2 if int(stable_hash(case.case_id, length=8), 16) < self.doubled * 16**8 else 1

    def _now(self) -> float:
        return self.clock().timestamp()


def _is_taken(added: Added) -> bool:
    """Whether nothing is wrong but that this person's word on the case is there already (a form sent twice)."""
    return all(reject.file == "offered" and reject.field == "annotation_id" for reject in added.rejects)
