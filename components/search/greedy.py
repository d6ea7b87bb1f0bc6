"""The policy alone, for comparison with the search.

Takes searched trees; gives whether following the first action everywhere solves each problem. Reuses the nodes that the
search made and does not change the trees.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from components.search.appraisal import evaluate
from components.search.audit import reopened
from components.search.mcts import Simulation, follow, write
from components.search.settings import SelfplaySettings
from components.search.tree import Blank, Edge, Node, Tree
from components.search.verbs import Verbs


def greedy_successes(trees: Sequence[Tree], verbs: Verbs, settings: SelfplaySettings) -> list[bool]:
    """Whether each tree's greedy path ends in a correct answer, all trees walked in lockstep."""
    heads = [tree.root for tree in trees]
    for _ in range(settings.max_depth):
        moving = [index for index, node in enumerate(heads) if node.ways]
        ends = _written([heads[index] for index in moving], verbs, settings)
        for index, node in zip(moving, _next_nodes(ends, verbs, settings), strict=True):
            heads[index] = node
    return [node.success is True for node in heads]


def first_way(node: Node) -> Edge | Blank:
    """Greedy over decisions, then over their arguments: the best edge of the decision with the largest total prior; its
    blank where nothing of it was written."""
    mass: defaultdict[str, float] = defaultdict(float)
    for way in node.ways:
        mass[way.decision] += way.prior
    decision = max(mass, key=lambda name: mass[name])
    return next(way for way in node.ways if way.decision == decision)


def _written(nodes: Sequence[Node], verbs: Verbs, settings: SelfplaySettings) -> list[tuple[Node, Edge]]:
    """The first edge of each node; where it was never written, it hangs from a copy that belongs to no tree."""
    firsts = [first_way(node) for node in nodes]
    copies = [_copy(node) if isinstance(way, Blank) else node for node, way in zip(nodes, firsts, strict=True)]
    blanks = [Simulation((), copy, copy.blanks[0]) for copy in copies if copy not in nodes]
    written = iter(write(blanks, verbs, settings))
    pairs = zip(nodes, firsts, strict=True)
    return [(node, way) if isinstance(way, Edge) else next(written)[-1] for node, way in pairs]


def _copy(node: Node) -> Node:
    """The node with nothing but the blank of its first decision."""
    copy, way = reopened(node), first_way(node)
    copy.blanks = [Blank(way.decision, 1.0, way.context_tokens, virtual_loss=1)]
    return copy


def _next_nodes(ends: Sequence[tuple[Node, Edge]], verbs: Verbs, settings: SelfplaySettings) -> list[Node]:
    """The nodes after the ends; what the search did not make, or pruned, is made here, apart from the tree."""
    untried = iter(follow([end for end in ends if end[1].child is None], verbs))
    heads = [edge.child or next(untried) for _, edge in ends]
    heads = [reopened(node) if node.pruned or node.outdone else node for node in heads]
    fresh = [head for head, (_, edge) in zip(heads, ends, strict=True) if head is not edge.child]
    evaluate(fresh, verbs, settings.model_copy(update={"prune_below": 0.0}))
    return heads
