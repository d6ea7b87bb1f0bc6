"""What tests of annotating share: cases with known evidence, and a workplace over a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from components.annotation.agreement import agreements, said_in
from components.annotation.case import Alternative, Case, Turn
from components.annotation.claims import Claims
from components.annotation.selection import rank
from components.annotation.workplace import Workplace
from components.records.annotations import annotation_files, read_annotations
from components.records.intake import Intake
from components.schema.annotation import Annotation
from components.tools.spec import KNOWN_SPECS

HOSTILE = "<script>window.broken = 1</script>"
START = datetime(2026, 1, 31, 12, tzinfo=UTC)


def call(tool: str, text: str, *, result: str = "found", **more: Any) -> Turn:
    """A call of a tool with one argument."""
    spec = next(spec for spec in KNOWN_SPECS if spec.name == tool)
    (argument,) = spec.parameters["properties"]
    return Turn(tool, f"{tool} {text}", {argument: text}, result, cost=1.0, **more)


def answer(text: str) -> Turn:
    """An answer."""
    return Turn("answer", text, None, None, cost=0.0)


def alternatives() -> tuple[Alternative, ...]:
    """A search that the policy likes, a calculation that went better, and an answer nobody tried."""
    return (
        Alternative(call("search", "area of Chad"), 0.6, 0.4, 5, then=(answer("1,284,000"),), correct=True),
        Alternative(call("python", "2 + 2", result=HOSTILE), 0.3, 0.5, 2, then=(answer("4"),), correct=False),
        Alternative(answer(f"It is large. {HOSTILE}"), 0.1, None, 0),
    )


def case(number: int = 0, **change: Any) -> Case:
    """A case of its own."""
    made = Case(
        prompt=f"How large is Chad, question {number}? {HOSTILE}",
        family="number",
        source="search",
        tools=tuple(KNOWN_SPECS),
        max_calls=2,
        known_answer="Chad has 1,284,000 square kilometres.",
        alternatives=alternatives(),
    )
    return replace(made, **change)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


def workplace(root: Path, cases: Sequence[Case], *, clock: Clock | None = None, doubled: float = 0.0) -> Workplace:
    """A workplace whose annotations and claims lie below `root`."""
    intake, ranked = Intake(root / "annotations", root / "scratch"), rank(cases)

    def files() -> list[Path]:
        return annotation_files(intake.folder) if intake.folder.is_dir() else []

    return Workplace(
        queue=lambda: ranked,
        agreements=lambda: agreements(one for file in files() for one in said_in(file)),
        claims=Claims(root / "claims.db", seconds=900),
        intake=intake,
        tools=tuple(KNOWN_SPECS),
        clock=clock or Clock(),
        doubled=doubled,
    )


def written(place: Workplace) -> tuple[Annotation, ...]:
    """Every annotation that is there; all must be good."""
    if not place.intake.folder.is_dir():
        return ()
    batch = read_annotations(place.intake.folder, tools=place.tools)
    assert not batch.rejects
    return batch.annotations
