"""Feedback that calls for a person: what users said was wrong, or how it should have been.

Takes what users said; gives what an annotator can judge, in order. Reads and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from components.annotation.case import Complaint
from components.records.feedback import Feedback


def complaints(said: Iterable[Feedback]) -> tuple[Complaint, ...]:
    """Thumbs down, and whatever carries a correction.

    What says nothing is wrong needs no annotator, and without the question (servers may be told not to keep texts)
    nobody could judge.
    """
    return tuple(
        Complaint(one.feedback_id, one.response_id, one.thumbs, one.correction, one.question, one.answer or "")
        for one in said
        if one.question is not None and one.question.strip() and (one.thumbs == "down" or one.correction)
    )
