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
WIDTH, HEIGHT, ACROSS, DOWN, MARGIN = 170, 44, 186, 84, 12
"""Pixels: of a box, from one to the next in a layer, from layer to layer, around everything."""
ASIDE = 7
"""Pixels by which a link that passes a layer goes out to the right, a layer."""
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
    links = [(places[effect], places[cause]) for effect, cause in graph.links([box.item for box in boxes])]
    right = max(box.x for box in boxes) + WIDTH
    longest = max((_span(effect, cause) for effect, cause in links), default=0)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        item=item,
        boxes=boxes,
        paths=[_curve(effect, cause, right) for effect, cause in links],
        width=right + MARGIN + ASIDE * longest,
        height=max(box.y for box in boxes) + HEIGHT + MARGIN,
        box_width=WIDTH,
        box_height=HEIGHT,
    )


def _boxes(graph: Lineage, item: Item) -> tuple[Box, ...]:
    """Layers from the last effect, on top, down to the first cause; in a layer, in the order of the walk."""
    layers: dict[int, list[Item]] = defaultdict(list)
    for key, layer in _layers(graph, item).items():
        layers[layer].append(graph.items[key])
    top = max(layers)
    return tuple(
        _box(one, MARGIN + place * ACROSS, MARGIN + (top - layer) * DOWN)
        for layer, members in sorted(layers.items(), reverse=True)
        for place, one in enumerate(members)
    )


def _layers(graph: Lineage, item: Item) -> dict[str, int]:
    """Every cause below all that came of it: the longest way to the thing decides."""
    layers = {item.key: 0}
    for sign, follow in ((-1, graph.causes), (1, graph.effects)):
        front = [item]
        # a link goes from an id or hash to one that existed before, so ways end; the bound is for damaged records
        for distance in range(1, len(graph.items) + 1):
            front = list({one.key: one for found in front for one in follow(found) if one.key != item.key}.values())
            if not front:
                break
            layers.update((one.key, sign * distance) for one in front)
    return layers


def _box(item: Item, x: int, y: int) -> Box:
    title = item.kind if len(item.name) > 20 else f"{item.kind} {item.name}"
    if "path" in item.facts:
        title = item.facts["path"].removeprefix("data/")
    elif "stage" in item.facts:
        title = f"run {item.facts['stage']}"
    return Box(item, x, y, _short(title, 20), _short(_says(item), 22), _FILLS.get(item.kind, "#f0f4f8"))


def _says(item: Item) -> str:
    """What sets it apart from others of its kind; hashes by their first digits."""
    for name in ("md5", "payload sha256"):
        if name in item.facts:
            return item.facts[name][:12]
    told = (item.facts.get(name) for name in ("decision", "kind", "subject", "annotator", "at"))
    return item.name[:12] if item.kind == "run" else next((one for one in told if one is not None), item.name)


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _span(effect: Box, cause: Box) -> int:
    """Layers from one to the other."""
    return abs(cause.y - effect.y) // DOWN


def _curve(effect: Box, cause: Box, right: int) -> str:
    """From the lower edge of the effect to the upper edge of the cause; out to the right where it passes others."""
    x, y, to_x, to_y = effect.x + WIDTH // 2, effect.y + HEIGHT, cause.x + WIDTH // 2, cause.y
    span = _span(effect, cause)
    if span <= 1:
        return f"M{x},{y} C{x},{y + 20} {to_x},{to_y - 20} {to_x},{to_y}"
    side = right + ASIDE * span
    out, back = f"C{x},{y + 26} {side},{y} {side},{y + 40}", f"C{side},{to_y} {to_x},{to_y - 26} {to_x},{to_y}"
    return f"M{x},{y} {out} L{side},{to_y - 40} {back}"
