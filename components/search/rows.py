"""A searched tree as rows.

Takes a tree and the names of what made it; gives a `NodeRow` for every node and every untried edge.
Does not write files, and leaves out the messages of a state: they follow from the rows on the way to the root.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from components.schema.cost import Cost
from components.schema.identity import stable_hash
from components.schema.trajectory import Transition
from components.search.best import chosen_path
from components.search.gumbel import improved_policy
from components.search.schema import NodeRow
from components.search.settings import SelfplaySettings
from components.search.tree import Edge, Node, Tree
from components.search.worth import open_tasks

COLUMNS = tuple(field.name for field in fields(NodeRow))
Units = Callable[[Cost], float]


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made the trees."""

    model_digest: str
    """Digest of the weights that proposed the actions."""
    data_digest: str
    """Digest of problems, passages, tools and prices."""


def tree_rows(
    tree: Tree, *, greedy_success: bool, provenance: Provenance, units: Units, settings: SelfplaySettings
) -> tuple[NodeRow, ...]:
    """Every node of the tree, parents first, siblings in the order in which they were proposed."""
    shared: Mapping[str, Any] = {
        "tree_id": tree.tree_id,
        "problem_id": tree.root.state.problem.problem_id,
        "family": tree.root.state.problem.family,
        "model_digest": provenance.model_digest,
        "data_digest": provenance.data_digest,
    }
    value_sum = tree.root.value + sum(edge.value_sum for edge in tree.root.edges)
    root = NodeRow(
        **shared,
        **_no_action(),
        **_visited(tree.root, units),
        node_id=tree.tree_id,
        parent_id=None,
        depth=0,
        visits=tree.root.visits,
        value_sum=value_sum,
        q=value_sum / tree.root.visits,
        chosen=True,
        greedy_success=greedy_success,
    )
    writer = _Writer(shared, units, settings, chosen=chosen_path(tree, units))
    return (root, *writer.below(tree.root, tree.tree_id))


def content_hash(rows: Iterable[NodeRow]) -> str:
    """Identity of the rows themselves, whatever blocks or files they went through."""
    return stable_hash([as_mapping(row) for row in rows], length=64)


def as_mapping(row: NodeRow) -> dict[str, Any]:
    """The row by column name."""
    return {name: getattr(row, name) for name in COLUMNS}


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes what lies below the root."""

    shared: Mapping[str, Any]
    units: Units
    settings: SelfplaySettings
    chosen: tuple[int, ...]

    def below(self, node: Node, node_id: str) -> Iterator[NodeRow]:
        trusted = node.visits >= self.settings.min_visits
        targets = improved_policy(node, self.settings) if trusted else [None] * len(node.edges)
        for position, (edge, target) in enumerate(zip(node.edges, targets[: len(node.edges)], strict=True)):
            path, child_id = (*node.path, position), f"{node_id}/{position}"
            yield NodeRow(
                **self.shared,
                **_action(edge, _prior(node, edge), target),
                **(_untried() if edge.child is None else _visited(edge.child, self.units)),
                node_id=child_id,
                parent_id=node_id,
                depth=len(path),
                visits=edge.visits,
                value_sum=edge.value_sum,
                q=edge.value_sum / edge.visits if edge.visits else None,
                chosen=path == self.chosen[: len(path)],
                greedy_success=None,
            )
            if edge.child is not None:
                yield from self.below(edge.child, child_id)


def _no_action() -> dict[str, Any]:
    return dict.fromkeys(("decision", "arguments", "text", "token_ids", "context_tokens", "prior", "draws", "target"))


def _prior(node: Node, edge: Edge) -> float:
    """The edge's share of its decision, of which what is not written has none."""
    blank = next((blank for blank in node.blanks if blank.decision == edge.decision), None)
    return edge.prior if blank is None else blank.mass * edge.draws / blank.draws


def _action(edge: Edge, prior: float, target: float | None) -> dict[str, Any]:
    call = edge.action.call
    return {
        "decision": edge.action.decision,
        "arguments": None if call is None else json.dumps(dict(call.arguments), sort_keys=True, ensure_ascii=False),
        "text": edge.action.message.content,
        "token_ids": edge.action.message.token_ids,
        "context_tokens": edge.context_tokens,
        "prior": prior,
        "draws": edge.draws,
        "target": target,
    }


def _visited(node: Node, units: Units) -> dict[str, Any]:
    return {
        "simulation": node.simulation,
        "value": node.value,
        "chance": None if node.worth is None else node.worth.chance,
        "cost_to_go": None if node.worth is None else node.worth.cost_to_go,
        "written_tokens": node.written_tokens,
        "open_tasks": open_tasks(node.state),
        "spent_units": units(node.state.spent),
        "terminal": node.terminal,
        "expandable": node.expandable,
        "success": node.success,
        "solved": node.solved,
        "dead_end": node.dead_end,
        "pruned": node.pruned,
        "outdone": node.outdone,
        "audit": node.audit,
        **_happened(node.transition, units),
    }


def _happened(transition: Transition | None, units: Units) -> dict[str, Any]:
    """What the action cost, and the record of its tool."""
    cost = None if transition is None else transition.cost
    results = () if transition is None else transition.results
    sources = tuple(source for result in results for source in result.source_ids)
    return {
        "cost_units": None if cost is None else units(cost),
        "tool_calls": None if cost is None else cost.calls,
        "tool_seconds": None if cost is None else cost.seconds,
        "tool_money": None if cost is None else cost.money,
        "tool_result": "\n".join(result.content for result in results) if results else None,
        "tool_error": any(result.is_error for result in results) if results else None,
        "tool_sources": sources if results else None,
    }


def _untried() -> dict[str, Any]:
    visited = ("simulation", "value", "chance", "cost_to_go", "written_tokens", "open_tasks", "spent_units", "terminal")
    found = ("expandable", "success", "solved", "dead_end", "pruned", "outdone", "audit", "cost_units")
    tool = ("tool_calls", "tool_seconds", "tool_money", "tool_result", "tool_error", "tool_sources")
    return dict.fromkeys((*visited, *found, *tool))
