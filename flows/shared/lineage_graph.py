"""What came of what: things with a name, and links from each to what it was made from.

Takes things and links; gives a graph that can be asked by whatever name a thing has, and walked both ways. Reads
nothing: see `flows.shared.lineage_sources`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from flows.shared.faults import UserFault

Kind = Literal[
    "response", "alias", "promotion", "version", "gate", "run", "data", "file", "annotation", "commit", "flow run"
]
SHORTEST = 6
"""Characters of a hash or id that are enough, where they name one thing only."""


class UnknownThing(UserFault):
    """Nothing, or more than one thing, has the name that was asked for."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing of a chain."""

    kind: Kind
    name: str
    """Unique among its kind."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What a person wants to know of it."""

    @property
    def key(self) -> str:
        """Unique in the graph."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a walk."""

    depth: int
    item: Item
    again: bool
    """It was told before, with what follows from it."""


class Lineage:
    """The graph; filled by `add` and `link`, then asked."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self._causes: dict[str, list[str]] = defaultdict(list)
        self._effects: dict[str, list[str]] = defaultdict(list)
        self._names: dict[str, set[str]] = defaultdict(set)

    # --- filling

    def add(self, item: Item, *names: str) -> Item:
        """Put the item in, under its own name and others; what was known of it is kept."""
        before = self.items.get(item.key)
        known = item if before is None else Item(item.kind, item.name, {**before.facts, **item.facts})
        self.items[item.key] = known
        for name in (item.name, item.key, *names):
            self._names[name].add(item.key)
        return known

    def link(self, effect: Item, cause: Item) -> None:
        """`effect` was made from (or by, or under) `cause`; both must have been added."""
        if cause.key not in self._causes[effect.key]:
            self._causes[effect.key].append(cause.key)
            self._effects[cause.key].append(effect.key)

    # --- asking

    def find(self, name: str) -> Item:
        """The one thing with this name, or whose name begins so; `UnknownThing` where there is none or several."""
        keys = self._names.get(name) or self._beginning(name)
        if not keys:
            raise UnknownThing(
                f"{name!r:.120} names nothing here. Fix: give a version, an alias, a run, a response, an annotation, "
                "a commit or a hash (six characters are enough)"
            )
        if len(keys) > 1:
            raise UnknownThing(f"{name!r:.120} names several things: {', '.join(sorted(keys))}")
        return self.items[next(iter(keys))]

    def causes(self, item: Item) -> tuple[Item, ...]:
        """What it was made from, in the order of linking."""
        return tuple(self.items[key] for key in self._causes.get(item.key, ()))

    def effects(self, item: Item) -> tuple[Item, ...]:
        """What was made from it."""
        return tuple(self.items[key] for key in self._effects.get(item.key, ()))

    def back(self, item: Item) -> tuple[Step, ...]:
        """Everything that led to it, depth first; each thing is followed once."""
        return tuple(_walk(item, self._causes, self.items))

    def forth(self, item: Item) -> tuple[Step, ...]:
        """Everything that came of it."""
        return tuple(_walk(item, self._effects, self.items))

    def links(self, items: Sequence[Item]) -> tuple[tuple[str, str], ...]:
        """(effect, cause) of every link between these things."""
        keys = {item.key for item in items}
        return tuple((key, cause) for key in sorted(keys) for cause in self._causes.get(key, ()) if cause in keys)

    def _beginning(self, name: str) -> set[str]:
        if len(name) < SHORTEST:
            return set()
        return {key for full, keys in self._names.items() if full.startswith(name) for key in keys}


def _walk(item: Item, links: Mapping[str, Sequence[str]], items: Mapping[str, Item]) -> Iterator[Step]:
    seen = {item.key}
    stack = [(1, key) for key in reversed(links.get(item.key, ()))]
    while stack:
        depth, key = stack.pop()
        yield Step(depth, items[key], again=key in seen)
        if key not in seen:
            seen.add(key)
            stack += [(depth + 1, one) for one in reversed(links.get(key, ()))]
