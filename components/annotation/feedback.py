"""Feedback on served answers, read leniently: the server appends to this file while it is read.

Takes the file's path; gives what could be understood, in order. Rows of another form, or cut off in the middle, are
counted and left out. Writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from components.annotation.case import Feedback
from components.records.lines import read_lines


class _Row(BaseModel):
    # the server may come to say more
    model_config = ConfigDict(frozen=True, extra="ignore")

    feedback_id: str
    response_id: str = ""
    thumbs: Literal["up", "down"]
    correction: str | None = None
    question: str | None = None
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class FeedbackRead:
    """What the file holds."""

    rows: tuple[Feedback, ...]
    """Thumbs down, and whatever carries a correction: what says nothing is wrong needs no annotator, and without the
    question (servers may be told not to keep texts) nobody could judge."""
    unreadable: int
    """Lines that are no feedback."""


def read_feedback(path: Path) -> FeedbackRead:
    """Feedback that calls for a person; nothing where there is no file."""
    if not path.is_file():
        return FeedbackRead((), 0)
    rows, unreadable = [], 0
    for line in read_lines(path):
        try:
            row = _Row.model_validate_json(line.content)
        except ValidationError:
            unreadable += 1
            continue
        if row.question is not None and row.question.strip() and (row.thumbs == "down" or row.correction):
            said = row.model_dump(exclude={"answer"})
            rows.append(Feedback(**said, answer=row.answer or ""))
    return FeedbackRead(tuple(rows), unreadable)
