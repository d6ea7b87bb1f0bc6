"""Where something came from and what came of it, and whether every hash on the way still holds.

Takes the project's paths and a name; gives lines, a JSON value or a page. Reads only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.records.atomic import write_text
from flows.shared.faults import UserFault
from flows.shared.lineage_graph import Item, Lineage, Step, UnknownThing
from flows.shared.lineage_page import render
from flows.shared.lineage_sources import open_sources, read_lineage
from flows.shared.lineage_verify import Check, verify
from flows.shared.paths import Paths

_SHOWN = 160
"""Characters of a fact that are printed."""
_DIGITS = 12
"""Of a hash, in lines for a person."""
_NOT_PRINTED = frozenset({"path", "md5", "digest", "payload sha256", "stage", "name"})
"""Facts that the line says already, or that would fill it."""


def trace(paths: Paths, name: str) -> tuple[Lineage, Item]:
    """The graph, and the thing that `name` means in it."""
    graph = read_lineage(open_sources(paths), annotation=name)
    try:
        return graph, graph.find(name)
    except UnknownThing as error:
        raise UserFault(str(error)) from None


def lines(graph: Lineage, item: Item) -> list[str]:
    """For a terminal: the thing, what it came of, what came of it."""
    told = [item.key, *(f"  {name}: {_cut(value)}" for name, value in item.facts.items())]
    for heading, steps in (("came of", graph.back(item)), ("led to", graph.forth(item))):
        told += ["", heading, *(map(_step, steps) if steps else ["  nothing that is on record"])]
    return told


def as_json(graph: Lineage, item: Item) -> dict[str, Any]:
    """For programs: things by key, and links from effect to cause."""
    around = {step.item.key: step.item for step in (*graph.back(item), *graph.forth(item))}
    members = [item, *(one for key, one in around.items() if key != item.key)]
    return {
        "thing": item.key,
        "came_of": [step.item.key for step in graph.back(item) if not step.again],
        "led_to": [step.item.key for step in graph.forth(item) if not step.again],
        "things": {one.key: {"kind": one.kind, "name": one.name, "facts": dict(one.facts)} for one in members},
        "links": [{"effect": effect, "cause": cause} for effect, cause in graph.links(members)],
    }


def write_page(graph: Lineage, item: Item, file: Path) -> None:
    """The drawing, at `file`."""
    write_text(file, render(graph, item))


def check(paths: Paths) -> tuple[list[str], bool]:
    """One line a link that is not whole, a summary; and whether none is broken."""
    checks = tuple(verify(open_sources(paths)))
    return list(_told(checks)), all(one.verdict != "broken" for one in checks)


def _told(checks: tuple[Check, ...]) -> Iterator[str]:
    for one in dict.fromkeys(checks):
        if one.verdict != "ok":
            yield f"{one.verdict.upper():<7} {one.link}: {one.says}"
    counts = Counter(one.verdict for one in checks)
    yield f"{counts['ok']} links hold, {counts['broken']} are broken, {counts['gone']} cannot be checked any more"


def _step(step: Step) -> str:
    again = "  (above)" if step.again else ""
    facts = "" if step.again else _facts(step.item)
    return f"{'  ' * step.depth}{_line(step.item)}{facts}{again}"


def _line(item: Item) -> str:
    """Hashes shortened to what is enough to ask for them."""
    if "path" in item.facts:
        return f"{item.facts['path']} {item.facts['md5'][:_DIGITS]}"
    stage = f"{item.facts['stage']} " if "stage" in item.facts else ""
    name = item.name[:_DIGITS] if item.kind in ("run", "commit", "promotion") else item.name
    return f"{item.kind} {stage}{name}"


def _facts(item: Item) -> str:
    told = [f"{name} {_cut(value)}" for name, value in item.facts.items() if name not in _NOT_PRINTED]
    return f": {', '.join(told)}" if told else ""


def _cut(value: str) -> str:
    one_line = " ".join(value.split())
    return one_line if len(one_line) <= _SHOWN else f"{one_line[:_SHOWN]}…"
