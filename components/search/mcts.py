"""Monte-Carlo tree search, B trees side by side, tools run when a node is made.

Takes problems and the verbs (policy, value, judge, environment) as functions; gives one `Tree` a problem. One round
takes one leaf from each tree whose last one is in: the actions that lead there are written with what other trees are
still writing (`components.search.pen`), the tools of those that are ready run together, and the model is asked once
about all their leaves. A tree sees nothing of the others, so that the same seed gives the same trees, however many grow
side by side. A sample that turns out to be an action that was known makes no node and is no simulation. Several leaves
of one tree in a round are an option; virtual loss keeps them apart and is gone when the round is over. Left out of the
textbook method:
discounting, and re-visiting terminal nodes: a trajectory that ended has told all it can, so selection goes only where
something is untried. Visits therefore count effort, not preference: to compare actions, use q. Does not write files
or choose what to train on.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from components.environment.step import start
from components.schema.identity import stable_hash
from components.schema.problem import Problem
from components.schema.proposal import Proposal, ProposalRequest
from components.search import gumbel, puct
from components.search.appraisal import evaluate, is_over, seed_of
from components.search.bound import leave_outdone
from components.search.pen import Together
from components.search.settings import SelfplaySettings
from components.search.tree import (
    Blank,
    Edge,
    Node,
    Tree,
    draws_of,
    fill,
)
from components.search.verbs import Verbs

Path = Sequence[tuple[Node, Edge]]
"""From the root: each node with the edge taken from it."""
Way = tuple[Node, Edge | Blank]


@dataclass(frozen=True, slots=True)
class Simulation:
    """One select-expand-evaluate-backup pass under way."""

    above: Path
    """From the root to the last node."""
    node: Node
    way: Edge | Blank
    """Untried, at the last node."""

    def ways(self) -> Sequence[Way]:
        """From the root: each node with what is followed from it."""
        return *self.above, (self.node, self.way)


def search(problems: Sequence[Problem], verbs: Verbs, settings: SelfplaySettings) -> tuple[Tree, ...]:
    """One tree a problem, grown together by at most `settings.simulations` simulations each."""
    trees = tuple(plant(problem, settings) for problem in problems)
    if len({tree.tree_id for tree in trees}) != len(trees):
        raise ValueError("a problem occurs twice: lockstep takes its leaves from different trees")
    roots = [tree.root for tree in trees]
    evaluate(roots, verbs, settings)
    grow(roots, verbs, settings)
    return trees


def grow(roots: Sequence[Node], verbs: Verbs, settings: SelfplaySettings) -> None:
    """All simulations of the trees below evaluated roots, side by side."""
    pen, idle = verbs.open_pen(len(roots) * settings.leaves), list(range(len(roots)))
    under_way: dict[int, list[Simulation]] = {}
    while True:
        for number in idle:
            if simulations := select(roots[number], settings):
                under_way[number] = simulations
                pen.begin(number, to_write(simulations, settings))
        if not under_way:
            return
        ready = pen.written()
        idle = [number for number, _ in ready]
        paths = [path for number, written in ready for path in take(under_way.pop(number), written, settings)]
        leaves = expand(paths, verbs)
        evaluate(leaves, verbs, settings, wider=to_widen(paths, leaves, settings))
        for path, leaf in zip(paths, leaves, strict=True):
            backup(path, leaf.value)
        if settings.stop_outdone:
            leave_outdone([roots[number] for number in idle], verbs, margin=settings.least_saving)


def plant(problem: Problem, settings: SelfplaySettings) -> Tree:
    """A tree of one unevaluated root."""
    root = Node(path=(), state=start(problem), transition=None, simulation=0)
    return Tree(tree_id=stable_hash(["tree", problem.problem_id, settings.seed]), root=root)


# Select ---------------------------------------------------------------------------------------------------------------


def select(root: Node, settings: SelfplaySettings) -> list[Simulation]:
    """The simulations of a round: paths from the root to untried ways, each marked as under way.

    `settings.leaves` of them, fewer where the tree or its simulations come to an end.
    """
    simulations: list[Simulation] = []
    for number in range(root.visits, min(root.visits + settings.leaves, settings.simulations + 1)):
        if not root.expandable or root.blocked:
            break
        simulations.append(descend(root, number, settings))
        for node, way in reversed(simulations[-1].ways()):
            way.virtual_loss += 1
            node.blocked = not any(sibling.available for sibling in node.ways)
    return simulations


def descend(root: Node, number: int, settings: SelfplaySettings) -> Simulation:
    """From the root to the first untried way, at each node along the one that the settings' rule prefers."""
    above: list[tuple[Node, Edge]] = []
    node = root
    while True:
        if settings.selection == "puct":
            way = puct.best_way(node, settings)
        else:
            way = gumbel.inner_way(node, settings) if above else gumbel.root_way(node, number, settings)
        if isinstance(way, Blank) or way.child is None:
            return Simulation(above, node, way)
        above.append((node, way))
        node = way.child


# Expand ---------------------------------------------------------------------------------------------------------------


def write(simulations: Sequence[Simulation], verbs: Verbs, settings: SelfplaySettings) -> list[Path]:
    """The path of each simulation, blanks at the ends written by the model together."""
    pen = Together(verbs.propose)
    pen.begin(0, to_write(simulations, settings))
    ((_, written),) = pen.written()
    return take(simulations, written, settings)


def to_write(simulations: Sequence[Simulation], settings: SelfplaySettings) -> list[ProposalRequest]:
    """What the model has to write in the blanks at the ends, in their order."""
    return [
        ProposalRequest(one.node.state, seed_of(one.node, settings), one.way.decision, one.way.draws)
        for one in simulations
        if isinstance(one.way, Blank)
    ]


def take(simulations: Sequence[Simulation], written: Sequence[Proposal], settings: SelfplaySettings) -> list[Path]:
    """The path of each simulation, its blank filled with what was written.

    Where an action came out that was known, the simulation is called off: it would tell nothing new.
    """
    proposals = iter(written)
    paths: list[Path] = []
    for one in simulations:
        way = one.way
        if isinstance(way, Edge):
            paths.append([*one.above, (one.node, way)])
            continue
        proposal = next(proposals)
        one.node.written_tokens += proposal.action.tokens_written
        way.virtual_loss -= 1
        edge = fill(one.node, way, proposal, most=settings.most_arguments)
        if edge is None:
            _call_off(one)
        else:
            edge.virtual_loss += 1
            paths.append([*one.above, (one.node, edge)])
    return paths


def _call_off(simulation: Simulation) -> None:
    simulation.node.refresh()
    for node, edge in reversed(simulation.above):
        edge.virtual_loss -= 1
        node.refresh()


def expand(paths: Sequence[Path], verbs: Verbs) -> list[Node]:
    """The new node at the end of each path, attached to its tree; the tools of all trees run together."""
    ends = [path[-1] for path in paths]
    leaves = follow(ends, verbs)
    made: Counter[int] = Counter()
    for path, (_, edge), leaf in zip(paths, ends, leaves, strict=True):
        root = path[0][0]
        edge.child, leaf.simulation = leaf, root.visits + made[id(root)]
        made[id(root)] += 1
    return leaves


def follow(ends: Path, verbs: Verbs) -> list[Node]:
    """The node after each (node, edge), neither attached nor evaluated."""
    if not ends:
        return []
    stepped = verbs.step_many(
        [node.state for node, _ in ends],
        [edge.action for _, edge in ends],
        prompt_tokens=[edge.context_tokens or 0 for _, edge in ends],
    )
    return [
        Node(path=(*node.path, node.edges.index(edge)), state=state, transition=transition, simulation=0)
        for (node, edge), (state, transition) in zip(ends, stepped, strict=True)
    ]


def to_widen(paths: Sequence[Path], leaves: Sequence[Node], settings: SelfplaySettings) -> list[tuple[Node, str]]:
    """Nodes on the paths, each with a decision that is due for one more sample; none where blanks are for that.

    A decision that was tried is due when floor(sqrt(N)) of its node has passed its samples; that of a leaf which is
    over also when nothing else is left to try.
    """
    due: dict[tuple[int, str], tuple[Node, str]] = {}
    for path, leaf in zip(paths, leaves, strict=True):
        for node, edge in path if settings.arguments_per_tool else ():
            wide = max(1, math.floor(node.tried**settings.widening))
            decisions = {e.action.decision for e in node.edges if e.tried and draws_of(node, e.action.decision) < wide}
            if edge.child is leaf and is_over(leaf, settings) and not any(e.available for e in _others(node, edge)):
                decisions.add(edge.action.decision)
            for decision in sorted(decisions):
                if draws_of(node, decision) < settings.most_arguments:
                    due[id(node), decision] = node, decision
    return list(due.values())


def _others(node: Node, edge: Edge) -> list[Edge]:
    return [other for other in node.edges if other is not edge]


# Back up --------------------------------------------------------------------------------------------------------------


def backup(path: Path, value: float) -> None:
    """From leaf to root: add a visit and the return to each edge, and refresh what its node says of itself."""
    for node, edge in reversed(path):
        edge.virtual_loss -= 1
        edge.visits += 1
        edge.value_sum += value
        node.refresh()
