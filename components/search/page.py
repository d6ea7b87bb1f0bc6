"""A searched tree as one self-contained HTML page, to be opened from disk.

Takes the rows of a tree and its problem; gives text (everything that comes from data is escaped). The page needs no
network and no server. Does not search and does not read files but its own template.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from components.schema.problem import Problem
from components.search.schema import NodeRow

_TEMPLATE = Path(__file__).with_name("tree.html.j2")


@dataclass(frozen=True, slots=True)
class NodeView:
    """A row as a person reads it."""

    row: NodeRow
    place: str
    """Where it hangs, e.g. `0/2`; empty at the root."""
    above: str | None
    """The parent's place; None at the root."""
    children: int
    says: str
    """The action in one line."""
    marks: tuple[tuple[str, str], ...]
    """(name, meaning) of everything that sets the node apart."""
    facts: tuple[tuple[str, str], ...]
    """(name, figure) of everything that was recorded."""


def pages(rows: Iterable[NodeRow], problems: Mapping[str, Problem]) -> Iterator[tuple[str, str]]:
    """(tree id, page) of each tree; its rows stand together."""
    for tree_id, members in groupby(rows, key=lambda row: row.tree_id):
        tree = tuple(members)
        yield tree_id, render_tree(tree, problems[tree[0].problem_id])


def render_tree(rows: Sequence[NodeRow], problem: Problem) -> str:
    """The page as text; `rows` are those of one tree, the root first."""
    children = {row.node_id: 0 for row in rows}
    for row in rows:
        if row.parent_id is not None:
            children[row.parent_id] += 1
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        problem=problem,
        root=rows[0],
        nodes=[_view(row, children[row.node_id]) for row in rows],
        figures=_figures(rows),
        most_visits=max(row.visits for row in rows[1:]) if len(rows) > 1 else 1,
    )


def _view(row: NodeRow, children: int) -> NodeView:
    return NodeView(
        row=row,
        place=_place(row.node_id),
        above=None if row.parent_id is None else _place(row.parent_id),
        children=children,
        says=_says(row),
        marks=tuple(_marks(row)),
        facts=tuple((name, _figure(value)) for name, value in _facts(row) if value is not None),
    )


def _place(node_id: str) -> str:
    return node_id.partition("/")[2]


def _says(row: NodeRow) -> str:
    """Arguments of a call as a person writes them; else the text."""
    if row.parent_id is None:
        return "the problem"
    if row.arguments is None:
        return " ".join((row.text or "").split())
    return ", ".join(f"{name}={value}" for name, value in json.loads(row.arguments).items())


def _marks(row: NodeRow) -> Iterator[tuple[str, str]]:
    if row.success is True:
        yield "correct", "the checker accepts this answer"
    elif row.terminal:
        yield "wrong", "the trajectory ended here without a correct answer"
    elif row.solved:
        yield "solved", "a correct answer was found below"
    if row.pruned:
        yield "pruned", "stopped: the estimated chance of success was too small"
    elif row.outdone:
        yield "outdone", "left: no answer from here could be enough cheaper than the one that was found"
    elif row.dead_end and not row.terminal:
        yield "dead end", "nothing below can be tried any more, and no correct answer was found"
    if row.audit is not None:
        found = "a correct answer was found below" if row.audit else "no correct answer was found below"
        yield "audited", f"searched although it was pruned: {found}"
    if row.tool_error:
        yield "tool error", "the tool refused or failed"
    if row.visits == 0:
        yield "untried", "proposed, but no simulation went here"


def _facts(row: NodeRow) -> Iterator[tuple[str, Any]]:
    yield "visits N", row.visits
    yield "mean return Q", row.q
    yield "prior P", row.prior
    yield "samples that came out so", row.draws
    yield "target", row.target
    yield "value V", row.value
    yield "chance p-hat", row.chance
    yield "cost to go C-hat", row.cost_to_go
    yield "cost of this action", row.cost_units
    yield "spent so far", row.spent_units
    yield "tool calls", row.tool_calls
    yield "tool seconds", row.tool_seconds
    yield "tool money", row.tool_money
    yield "sources", ", ".join(row.tool_sources) if row.tool_sources else None
    yield "open sub-tasks", row.open_tasks
    yield "made by simulation", row.simulation
    yield "tokens read before", row.context_tokens
    yield "tokens of this turn", None if row.token_ids is None else len(row.token_ids)
    yield "tokens written for what follows", row.written_tokens


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _figures(rows: Sequence[NodeRow]) -> tuple[tuple[str, str], ...]:
    """What the whole tree amounts to."""
    visited = [row for row in rows if row.visits]
    best = next((row for row in reversed(rows) if row.chosen and row.success), None)
    return (
        ("solved", "yes" if rows[0].solved else "no"),
        ("policy alone", "solves it" if rows[0].greedy_success else "does not"),
        ("cost of the best answer", "–" if best is None else _figure(best.spent_units)),
        ("nodes", str(len(visited))),
        ("proposed, untried", str(len(rows) - len(visited))),
        ("tool calls", str(sum(row.tool_calls or 0 for row in visited))),
        ("dead ends", str(sum(row.dead_end is True for row in visited))),
        ("pruned", str(sum(row.pruned is True for row in visited))),
    )
