"""Calls that already hold the answer. Takes a problem, arguments and what was read before; gives True or False.

A call may repeat the answer when the prompt or an earlier result has it. Puzzles are exempt: there a call checks the
annotator's own candidate, and the candidate is the answer. It drops nothing itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.reward.text import contains_words
from components.schema.problem import Problem


def leaks(problem: Problem, arguments: Mapping[str, Any], earlier: Sequence[str]) -> bool:
    """Whether the arguments give away the answer."""
    if problem.checker.kind in {"expression", "overlap"}:
        return False
    shown = (problem.prompt, *earlier)
    written = " ".join(str(value) for value in arguments.values())
    spans = (problem.reference.answer, *problem.reference.aliases)
    return any(
        contains_words(written, span) and not any(contains_words(text, span) for text in shown) for span in spans
    )
