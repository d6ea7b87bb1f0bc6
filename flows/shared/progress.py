"""The line by which a stage tells how far it is.

Takes figures; gives the line, and the figures back. Does not print.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

MARK = "@@progress "


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage is."""

    stage: str
    step: float
    total: float
    rate: str = ""
    """What a person reads beside the bar, e.g. `3.1 problems/s`."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Latest values of a few metrics."""


def render(progress: Progress) -> str:
    """One line for a parent process."""
    return MARK + json.dumps(asdict(progress))


def parse(line: str) -> Progress | None:
    """The figures in a line of a stage; None when it is an ordinary line."""
    if not line.startswith(MARK):
        return None
    try:
        return Progress(**json.loads(line.removeprefix(MARK)))
    except (json.JSONDecodeError, TypeError):
        return None


def sentence(progress: Progress) -> str:
    """For people: `clone 20/100  3.1 problems/s  loss 1.2`."""
    figures = "  ".join(f"{name} {value:.4g}" for name, value in progress.metrics.items())
    parts = (f"{progress.stage} {progress.step:g}/{progress.total:g}", progress.rate, figures)
    return "  ".join(part for part in parts if part)
