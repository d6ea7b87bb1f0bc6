"""The pages as text: everything that comes from data is escaped. Takes records; gives HTML. Knows no HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from components.annotation.case import Alternative, Turn
from components.annotation.entries import CONFIDENCES, Fields
from components.annotation.selection import Ranked
from components.annotation.workplace import Standing

FOLDER = Path(__file__).with_name("pages")
_SHOWN = 200
"""Cases on the page of the queue."""


def home_page(standing: Standing, annotator: str | None) -> str:
    """Who are you, how far are we, how much do we agree."""
    return _render("home.html.j2", annotator=annotator, standing=standing, people=_people(standing))


def queue_page(queue: Sequence[Ranked], standing: Standing, annotator: str | None) -> str:
    """The cases in their order, with the reasons."""
    return _render(
        "queue.html.j2", annotator=annotator, queue=queue[:_SHOWN], more=max(0, len(queue) - _SHOWN), standing=standing
    )


def case_page(
    ranked: Ranked,
    standing: Standing,
    annotator: str,
    *,
    said: str = "",
    faults: Sequence[str] = (),
    entered: Fields | None = None,
) -> str:
    """One case; `said`: what became of the one before, `faults`: why the entry was refused, `entered`: what it was."""
    return _render(
        "case.html.j2",
        annotator=annotator,
        ranked=ranked,
        case=ranked.case,
        standing=standing,
        said=said,
        faults=faults,
        fields=_first_fields(ranked) if entered is None else entered,
        confidences=CONFIDENCES,
    )


def done_page(standing: Standing, annotator: str, said: str) -> str:
    """Nothing is left for this person."""
    return _render("done.html.j2", annotator=annotator, standing=standing, said=said)


def _first_fields(ranked: Ranked) -> Mapping[str, str]:
    """The form for corrections begins with what the model proposes."""
    fields: dict[str, str] = {}
    if not ranked.case.alternatives:
        return fields
    proposed = ranked.case.alternatives[0]
    for place, turn in enumerate((proposed.turn, *proposed.then)):
        if turn.arguments is None or place >= ranked.case.max_calls:
            break
        fields[f"call{place}"] = turn.decision
        fields.update({f"call{place}.{turn.decision}.{name}": str(value) for name, value in turn.arguments.items()})
    return fields


def _people(standing: Standing) -> list[tuple[str, int, int, bool]]:
    """(name, saved, skipped, is at work) of everybody, the busiest first."""
    progress = standing.progress
    names = {*progress.saved, *progress.skipped, *progress.at_work}
    rows = [(n, progress.saved.get(n, 0), progress.skipped.get(n, 0), n in progress.at_work) for n in names]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def _says(turn: Turn) -> str:
    """The action in one line."""
    if turn.arguments is None:
        return " ".join(turn.text.split())
    return ", ".join(f"{name}={value}" for name, value in turn.arguments.items())


def _figure(value: float | None, form: str = "{:.2f}") -> str:
    return "–" if value is None else form.format(value)


def _verdict(one: Alternative) -> str:
    return {True: "correct", False: "wrong", None: ""}[one.correct]


def _render(name: str, **values: object) -> str:
    return _environment().get_template(name).render(**values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({"says": _says, "figure": _figure, "verdict": _verdict})
    return environment
