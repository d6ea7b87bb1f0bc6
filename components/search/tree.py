"""The search tree: nodes (states) and edges (actions from them).

Takes proposals of a policy; gives `Tree`, `Node`, `Edge`. Nodes and edges change while a search runs and never leave
this house: outside, a tree is its rows (`components.search.rows`). Does not select, step or ask a model: see
`components.search.puct`.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from components.schema.proposal import Proposal
from components.schema.trajectory import Action, State, Transition


@dataclass(slots=True, eq=False)
class Edge:
    """An action from a node. Siblings are alternatives (OR): one good edge is enough."""

    action: Action
    prior: float
    """P: the policy's weight of this action; sums to 1 over a node's edges."""
    rank: int
    """Place among the edges with the same decision, best prior first; progressive widening opens low ranks first."""
    context_tokens: int | None = None
    """Tokens the policy read before this action."""
    visits: int = 0
    """N: simulations that went through this edge."""
    value_sum: float = 0.0
    """W: sum of the returns that those simulations backed up."""
    child: Node | None = None
    """The state after the action; None until the edge is first visited."""

    @property
    def expandable(self) -> bool:
        """Whether a simulation may still go through here."""
        return self.child is None or self.child.expandable


@dataclass(slots=True, eq=False)
class Node:
    """A state in the tree."""

    path: tuple[int, ...]
    """Position of each edge from the root to here among its siblings; the root's is empty. Its length is the depth."""
    state: State
    transition: Transition | None
    """The action and tool results that led here; None at the root."""
    simulation: int
    """The simulation that created the node; 0 for the root."""
    value: float = 0.0
    """Return estimated when the node was created (exact where terminal), cost spent so far included."""
    terminal: bool = False
    """The trajectory ended here; there is nothing to expand."""
    expandable: bool = False
    """Some edge is untried, or leads to an expandable node."""
    success: bool | None = None
    """The judge's verdict; None where the trajectory goes on."""
    edges: list[Edge] = field(default_factory=list)
    """Best prior first; empty at terminal nodes and at the depth limit."""

    @property
    def visits(self) -> int:
        """N of the node: its own evaluation plus the visits of its edges."""
        return 1 + sum(edge.visits for edge in self.edges)


@dataclass(slots=True, eq=False)
class Tree:
    """One searched problem."""

    tree_id: str
    root: Node


def action_key(action: Action) -> str:
    """What makes two actions the same: the decision with its arguments, or the text where there is no parsed call."""
    if action.call is None:
        return json.dumps([action.decision, action.message.content.strip()])
    return json.dumps([action.decision, action.call.arguments], sort_keys=True)


def make_edges(proposals: Sequence[Proposal]) -> list[Edge]:
    """One edge a distinct action, best prior first; priors of equal actions are added, then all made to sum to 1."""
    merged: dict[str, list[Proposal]] = {}
    for proposal in proposals:
        if not (math.isfinite(proposal.prior) and proposal.prior >= 0.0):
            raise ValueError(f"prior {proposal.prior} of {proposal.action.message.content!r} is not a weight")
        merged.setdefault(action_key(proposal.action), []).append(proposal)
    weights = [(sum(same.prior for same in group), group[0]) for group in merged.values()]
    total = sum(weight for weight, _ in weights)
    if weights and total <= 0.0:
        raise ValueError("all priors of a state are zero")
    weights.sort(key=lambda pair: -pair[0])
    return [
        Edge(action=first.action, prior=weight / total, rank=rank, context_tokens=first.context_tokens)
        for rank, (weight, first) in zip(_ranks([first for _, first in weights]), weights, strict=True)
    ]


def _ranks(ordered: Sequence[Proposal]) -> Iterator[int]:
    seen: Counter[str] = Counter()
    for proposal in ordered:
        yield seen[proposal.action.decision]
        seen[proposal.action.decision] += 1


def walk(node: Node, edge: Edge | None = None) -> Iterator[tuple[Edge | None, Node]]:
    """Every node from here down, parents first, each with the edge that leads to it (None for the first)."""
    yield edge, node
    for following in node.edges:
        if following.child is not None:
            yield from walk(following.child, following)
