"""What users say of answers: candidates for annotations, one line each in a file that many writers add to.

Takes feedback; gives it back, the oldest first. Validated when it is written and when it is read, for the file may be
edited. Decides nothing: an annotator looks at it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.records.append import append_line, read_lines


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


def append_feedback(path: Path, feedback: Feedback) -> None:
    """Add it to the file."""
    append_line(path, feedback.model_dump())


def read_feedback(path: Path) -> tuple[Feedback, ...]:
    """Every valid line, the oldest first; lines that are none are left out."""
    found = []
    for row in read_lines(path):
        try:
            found.append(Feedback.model_validate(row))
        except ValidationError:
            continue
    return tuple(found)
