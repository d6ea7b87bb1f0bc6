"""What a tree found. Takes a searched tree; gives its cheapest correct path as a `Trajectory`.

Does not choose what to train on: see `components.training.distil_data`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from components.environment.step import finish
from components.schema.cost import Cost
from components.schema.identity import child_seed
from components.schema.trajectory import Trajectory, Transition
from components.search.tree import Node, Tree, walk


def cheapest_correct(tree: Tree, *, policy_id: str, seed: int, units: Callable[[Cost], float]) -> Trajectory | None:
    """The correct path that spent least (then the shortest, then the likeliest); None if the tree found none.

    The measured wall time of live calls is left out, so that the same seed gives the same record.
    """
    best = _cheapest(tree, units)
    if best is None:
        return None
    return finish(
        best.state,
        transitions_to(tree, best),
        policy_id=policy_id,
        seed=child_seed(seed, best.state.problem.problem_id),
        success=True,
    )


def chosen_path(tree: Tree, units: Callable[[Cost], float]) -> tuple[int, ...]:
    """The path to the cheapest correct answer; where none was found, the most visited way (the better on ties)."""
    best = _cheapest(tree, units)
    node: Node | None = tree.root if best is None else best
    path = [] if best is None else list(best.path)
    while node is not None and any(edge.visits for edge in node.edges):
        edge = max(node.edges, key=lambda edge: (edge.visits, edge.q(0.0)))
        path.append(node.edges.index(edge))
        node = edge.child
    return tuple(path)


def _cheapest(tree: Tree, units: Callable[[Cost], float]) -> Node | None:
    correct = [node for _, node in walk(tree.root) if node.success]
    return min(correct, key=lambda node: (units(node.state.spent), len(node.path), node.path), default=None)


def transitions_to(tree: Tree, node: Node) -> tuple[Transition, ...]:
    """The transitions from the root to the node, without wall times."""
    transitions: list[Transition] = []
    here: Node | None = tree.root
    for position in node.path:
        here = here.edges[position].child if here is not None else None
        if here is None or here.transition is None:
            raise ValueError(f"tree {tree.tree_id} has no node at {node.path}")
        results = tuple(replace(result, wall_seconds=None) for result in here.transition.results)
        transitions.append(replace(here.transition, results=results))
    return tuple(transitions)
