"""The policy alone, for comparison with the search.

Takes searched trees; gives whether following the first action everywhere solves each problem. Reuses the nodes that the
search made and does not change the trees.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from components.search.audit import reopened
from components.search.mcts import evaluate, follow
from components.search.settings import SelfplaySettings
from components.search.tree import Edge, Node, Tree
from components.search.verbs import Verbs


def greedy_successes(trees: Sequence[Tree], verbs: Verbs, settings: SelfplaySettings) -> list[bool]:
    """Whether each tree's greedy path ends in a correct answer, all trees walked in lockstep."""
    heads = [tree.root for tree in trees]
    for _ in range(settings.max_depth):
        moving = [index for index, node in enumerate(heads) if node.edges]
        ends = [(heads[index], first_edge(heads[index])) for index in moving]
        for index, node in zip(moving, _next_nodes(ends, verbs, settings), strict=True):
            heads[index] = node
    return [node.success is True for node in heads]


def first_edge(node: Node) -> Edge:
    """Greedy over decisions, then over their arguments: the best edge of the decision with the largest total prior."""
    mass: defaultdict[str, float] = defaultdict(float)
    for edge in node.edges:
        mass[edge.action.decision] += edge.prior
    decision = max(mass, key=lambda name: mass[name])
    return next(edge for edge in node.edges if edge.action.decision == decision)


def _next_nodes(ends: Sequence[tuple[Node, Edge]], verbs: Verbs, settings: SelfplaySettings) -> list[Node]:
    """The nodes after the ends; what the search did not make, or pruned, is made here, apart from the tree."""
    untried = iter(follow([end for end in ends if end[1].child is None], verbs))
    heads = [edge.child or next(untried) for _, edge in ends]
    heads = [reopened(node) if node.pruned else node for node in heads]
    fresh = [head for head, (_, edge) in zip(heads, ends, strict=True) if head is not edge.child]
    evaluate(fresh, verbs, settings.model_copy(update={"prune_below": 0.0}))
    return heads
