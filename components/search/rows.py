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
from components.search.schema import NodeRow
from components.search.tree import Edge, Node, Tree

COLUMNS = tuple(field.name for field in fields(NodeRow))
Units = Callable[[Cost], float]


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made the trees."""

    model_digest: str
    """Digest of the weights that proposed the actions."""
    data_digest: str
    """Digest of problems, passages, tools and prices."""


def tree_rows(tree: Tree, *, greedy_success: bool, provenance: Provenance, units: Units) -> tuple[NodeRow, ...]:
    """Every node of the tree, parents first, siblings best prior first."""
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
        greedy_success=greedy_success,
    )
    return (root, *_below(tree.root, tree.tree_id, shared, units))


def content_hash(rows: Iterable[NodeRow]) -> str:
    """Identity of the rows themselves, whatever blocks or files they went through."""
    return stable_hash([as_mapping(row) for row in rows], length=64)


def as_mapping(row: NodeRow) -> dict[str, Any]:
    """The row by column name."""
    return {name: getattr(row, name) for name in COLUMNS}


def _below(node: Node, node_id: str, shared: Mapping[str, Any], units: Units) -> Iterator[NodeRow]:
    for position, edge in enumerate(node.edges):
        child_id = f"{node_id}/{position}"
        yield NodeRow(
            **shared,
            **_action(edge),
            **(_untried() if edge.child is None else _visited(edge.child, units)),
            node_id=child_id,
            parent_id=node_id,
            depth=len(node.path) + 1,
            visits=edge.visits,
            value_sum=edge.value_sum,
            q=edge.value_sum / edge.visits if edge.visits else None,
            greedy_success=None,
        )
        if edge.child is not None:
            yield from _below(edge.child, child_id, shared, units)


def _action(edge: Edge) -> dict[str, Any]:
    call = edge.action.call
    return {
        "decision": edge.action.decision,
        "arguments": None if call is None else json.dumps(dict(call.arguments), sort_keys=True, ensure_ascii=False),
        "text": edge.action.message.content,
        "token_ids": edge.action.message.token_ids,
        "context_tokens": edge.context_tokens,
        "prior": edge.prior,
    }


def _no_action() -> dict[str, Any]:
    return dict.fromkeys(("decision", "arguments", "text", "token_ids", "context_tokens", "prior"))


def _visited(node: Node, units: Units) -> dict[str, Any]:
    transition = node.transition
    results = () if transition is None else transition.results
    return {
        "simulation": node.simulation,
        "value": node.value,
        "cost_units": None if transition is None else units(transition.cost),
        "spent_units": units(node.state.spent),
        "terminal": node.terminal,
        "expandable": node.expandable,
        "success": node.success,
        "tool_result": "\n".join(result.content for result in results) if results else None,
        "tool_error": any(result.is_error for result in results) if results else None,
    }


def _untried() -> dict[str, Any]:
    names = ("simulation", "value", "cost_units", "spent_units", "terminal", "expandable", "success")
    return dict.fromkeys((*names, "tool_result", "tool_error"))
