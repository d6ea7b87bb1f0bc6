"""What users say of answers: candidates for annotations, one line each in a file that many writers add to.

Takes feedback; gives it back, the oldest first. Validated when it is written and when it is read, for the file may be
edited and the server appends to it meanwhile. Decides nothing: an annotator looks at it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.records.append import append_line
from components.records.lines import read_lines


class Feedback(BaseModel):
    """One user's word on one response."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    feedback_id: str = Field(min_length=1)
    response_id: str = Field(min_length=1)
    thumbs: Literal["up", "down"]
    correction: str | None = None
    """What the answer should have been."""
    question: str | None = None
    """None unless the server was told to log texts; personal data was taken out."""
    answer: str | None = None
    created_at: str
    """UTC, ISO 8601."""


@dataclass(frozen=True, slots=True)
class FeedbackRead:
    """What the file holds."""

    rows: tuple[Feedback, ...]
    unreadable: int
    """Lines that are no feedback, one that was cut off in the middle among them."""


def append_feedback(path: Path, feedback: Feedback) -> None:
    """Add it to the file."""
    append_line(path, feedback.model_dump())


def read_feedback(path: Path) -> FeedbackRead:
    """Every valid line, the oldest first; nothing where there is no file."""
    rows, unreadable = [], 0
    for line in read_lines(path) if path.is_file() else ():
        try:
            rows.append(Feedback.model_validate_json(line.content))
        except ValidationError:
            unreadable += 1
    return FeedbackRead(tuple(rows), unreadable)
