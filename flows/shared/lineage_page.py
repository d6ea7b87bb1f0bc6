"""A chain as one self-contained HTML page: a drawing in layers, and the facts of everything in it.

Takes a graph and the thing that was asked for; gives text (what comes from data is escaped). Needs no network, no
script and no other program.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from flows.shared.lineage_graph import Item, Lineage

_TEMPLATE = Path(__file__).with_name("lineage_page.html.j2")
WIDTH, HEIGHT, ACROSS, DOWN, MARGIN = 190, 44, 240, 58, 16
"""Pixels: of a box, from column to column, from row to row, around everything."""
_FILLS: Mapping[str, str] = {
    "response": "#fff3c4",
    "alias": "#d8f5ea",
    "promotion": "#d8f5ea",
    "version": "#d8f5ea",
    "gate": "#e3ecf8",
    "run": "#e3ecf8",
    "annotation": "#fde8dd",
    "file": "#fde8dd",
}


@dataclass(frozen=True, slots=True)
class Box:
    """Where a thing is drawn."""

    item: Item
    x: int
    y: int
    title: str
    says: str
    fill: str


def render(graph: Lineage, item: Item) -> str:
    """The page."""
    boxes = _boxes(graph, item)
    places = {box.item.key: box for box in boxes}
    links = graph.links([box.item for box in boxes])
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        item=item,
        boxes=boxes,
        paths=[_curve(places[cause], places[effect]) for effect, cause in links],
        width=max(box.x for box in boxes) + WIDTH + MARGIN,
        height=max(box.y for box in boxes) + HEIGHT + MARGIN,
        box_width=WIDTH,
        box_height=HEIGHT,
    )


def _boxes(graph: Lineage, item: Item) -> tuple[Box, ...]:
    """Columns from the first cause to the last effect; in a column, in the order of the walk."""
    columns: dict[int, list[Item]] = defaultdict(list)
    for key, column in _columns(graph, item).items():
        columns[column].append(graph.items[key])
    first = min(columns)
    return tuple(
        _box(one, MARGIN + (column - first) * ACROSS, MARGIN + row * DOWN)
        for column, members in sorted(columns.items())
        for row, one in enumerate(members)
    )


def _columns(graph: Lineage, item: Item) -> dict[str, int]:
    """Every cause left of all that came of it: the longest way to the thing decides."""
    columns = {item.key: 0}
    for sign, follow in ((-1, graph.causes), (1, graph.effects)):
        front = [item]
        # a link goes from an id or hash to one that existed before, so ways end; the bound is for damaged records
        for distance in range(1, len(graph.items) + 1):
            front = list({one.key: one for found in front for one in follow(found) if one.key != item.key}.values())
            if not front:
                break
            columns.update((one.key, sign * distance) for one in front)
    return columns


def _box(item: Item, x: int, y: int) -> Box:
    title = item.kind if len(item.name) > 20 else f"{item.kind} {item.name}"
    if "path" in item.facts:
        title = item.facts["path"]
    elif "stage" in item.facts:
        title = f"run {item.facts['stage']}"
    return Box(item, x, y, _short(title, 27), _short(_says(item), 31), _FILLS.get(item.kind, "#f0f4f8"))


def _says(item: Item) -> str:
    told = ("md5", "decision", "kind", "subject", "payload sha256", "annotator", "at", "status")
    found = next((item.facts[name] for name in told if name in item.facts), item.name)
    return found if item.kind != "run" else item.name


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _curve(cause: Box, effect: Box) -> str:
    """From the right edge of the cause to the left edge of the effect."""
    x, y, to_x, to_y = cause.x + WIDTH, cause.y + HEIGHT // 2, effect.x, effect.y + HEIGHT // 2
    bend = max(20, (to_x - x) // 2)
    return f"M{x},{y} C{x + bend},{y} {to_x - bend},{to_y} {to_x},{to_y}"
