"""PUCT tree search (AlphaZero, Silver et al. 2018), B trees in lockstep, tools run when a node is made.

Takes problems and the verbs (policy, value, judge, environment) as functions; gives one `Tree` a problem. One round
takes one leaf from each tree: the tools of all leaves run together and the model is asked once for all of them, so that
no virtual loss is needed and the same seed gives the same trees. Left out of the textbook method: Dirichlet noise at
the root (we look for answers, not for opponents' replies), discounting, and re-visiting terminal nodes: a trajectory
that ended has told all it can, so selection goes only where something is untried. Visits therefore count effort, not
preference: to compare actions, use q. Does not write files or choose what to train on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from components.environment.step import start, stop_reason
from components.schema.identity import child_seed, stable_hash
from components.schema.problem import Problem
from components.schema.trajectory import StopReason
from components.search.settings import SelfplaySettings
from components.search.tree import Edge, Node, Tree, make_edges
from components.search.verbs import Verbs

Path = Sequence[tuple[Node, Edge]]
"""From the root: each node with the edge taken from it."""


def search(problems: Sequence[Problem], verbs: Verbs, settings: SelfplaySettings) -> tuple[Tree, ...]:
    """One tree a problem, grown together by at most `settings.simulations` simulations each."""
    trees = tuple(plant(problem, settings) for problem in problems)
    if len({tree.tree_id for tree in trees}) != len(trees):
        raise ValueError("a problem occurs twice: lockstep without virtual loss takes one leaf a tree")
    evaluate([tree.root for tree in trees], verbs, settings)
    for simulation in range(1, settings.simulations + 1):
        paths = [select(tree.root, settings) for tree in trees if tree.root.expandable]
        leaves = expand(paths, simulation, verbs)
        evaluate(leaves, verbs, settings)
        for path, leaf in zip(paths, leaves, strict=True):
            backup(path, leaf.value)
    return trees


def plant(problem: Problem, settings: SelfplaySettings) -> Tree:
    """A tree of one unevaluated root."""
    root = Node(path=(), state=start(problem), transition=None, simulation=0)
    return Tree(tree_id=stable_hash(["tree", problem.problem_id, settings.seed]), root=root)


def select(root: Node, settings: SelfplaySettings) -> Path:
    """From the root to the first untried edge, at each node along the open edge of highest score (first on ties)."""
    path: list[tuple[Node, Edge]] = []
    node: Node | None = root
    while node is not None:
        edge = best_edge(node, settings.c_puct)
        path.append((node, edge))
        node = edge.child
    return path


def best_edge(node: Node, c_puct: float) -> Edge:
    """argmax of Q + c P sqrt(N) / (1 + N_edge) over the open edges.

    An untried edge's Q is the node's own value estimate: there is no reason yet to think that it differs.
    """
    visits = node.visits

    def score(edge: Edge) -> float:
        q = edge.value_sum / edge.visits if edge.visits else node.value
        return q + c_puct * edge.prior * math.sqrt(visits) / (1 + edge.visits)

    return max(open_edges(node, visits), key=score)


def open_edges(node: Node, visits: int) -> list[Edge]:
    """The expandable edges among the best floor(sqrt(N)) of each decision; all expandable ones where these are used up.

    Progressive widening (Coulom 2007, exponent 1/2): a new argument sample is tried as its node proves worth visiting.
    """
    expandable = [edge for edge in node.edges if edge.expandable]
    width = math.isqrt(visits)
    return [edge for edge in expandable if edge.rank < width] or expandable


def expand(paths: Sequence[Path], simulation: int, verbs: Verbs) -> list[Node]:
    """The new node at the end of each path, attached to its tree; the tools of all trees run together."""
    ends = [path[-1] for path in paths]
    leaves = follow(ends, simulation, verbs)
    for (_, edge), leaf in zip(ends, leaves, strict=True):
        edge.child = leaf
    return leaves


def follow(ends: Path, simulation: int, verbs: Verbs) -> list[Node]:
    """The node after each (node, edge), neither attached nor evaluated."""
    if not ends:
        return []
    stepped = verbs.step_many(
        [node.state for node, _ in ends],
        [edge.action for _, edge in ends],
        prompt_tokens=[edge.context_tokens or 0 for _, edge in ends],
    )
    return [
        Node(path=(*node.path, node.edges.index(edge)), state=state, transition=transition, simulation=simulation)
        for (node, edge), (state, transition) in zip(ends, stepped, strict=True)
    ]


def evaluate(nodes: Sequence[Node], verbs: Verbs, settings: SelfplaySettings) -> None:
    """Give each new node its value (the judge's word where it ended, else the estimate) and, if it goes on, edges."""
    unfinished: list[Node] = []
    for node in nodes:
        if node.state.done:
            node.terminal, node.success = True, is_success(node, verbs)
            node.value = net_return(float(node.success), node, verbs, settings)
        elif len(node.path) >= settings.max_depth:
            node.value = net_return(0.0, node, verbs, settings)
        else:
            unfinished.append(node)
    if unfinished:
        ask(unfinished, verbs, settings)


def ask(nodes: Sequence[Node], verbs: Verbs, settings: SelfplaySettings) -> None:
    """Ask the model once for all nodes: their edges and their estimated values."""
    states = [node.state for node in nodes]
    seeds = [child_seed(settings.seed, node.state.problem.problem_id, *node.path) for node in nodes]
    proposals = verbs.propose(states, seeds=seeds)
    for node, candidates, chance in zip(nodes, proposals, verbs.value(states), strict=True):
        if not 0.0 <= chance <= 1.0:
            raise ValueError(f"value {chance} of a state is not a chance in [0, 1]")
        node.edges = make_edges(candidates)
        node.expandable = bool(node.edges)
        node.value = net_return(chance, node, verbs, settings)


def is_success(node: Node, verbs: Verbs) -> bool:
    """Whether a finished node ends in a correct answer; broken turns and spent budgets are failures."""
    if node.transition is None or stop_reason(node.state, (node.transition,)) is not StopReason.ANSWERED:
        return False
    return verbs.judge(node.state.problem, node.transition.action.message.content.strip())


def net_return(chance: float, node: Node, verbs: Verbs, settings: SelfplaySettings) -> float:
    """Return in [-lambda * C_max, 1]: success minus the price of everything spent on the way here."""
    return chance - settings.price_lambda * verbs.units(node.state.spent)


def backup(path: Path, value: float) -> None:
    """From leaf to root: add a visit and the return to each edge, and refresh whether its node is expandable."""
    for node, edge in reversed(path):
        edge.visits += 1
        edge.value_sum += value
        node.expandable = any(sibling.expandable for sibling in node.edges)
