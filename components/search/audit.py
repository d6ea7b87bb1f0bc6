"""How often pruning was wrong: a seeded sample of the pruned nodes is searched after all.

Takes searched trees; marks the sampled nodes with whether a correct answer was found below. What the audit finds stays
out of the trees' statistics and edges, so that a tree does not depend on how much was audited.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from components.schema.identity import child_seed
from components.search.appraisal import evaluate
from components.search.mcts import grow
from components.search.settings import SelfplaySettings
from components.search.tree import Node, Tree, walk
from components.search.verbs import Verbs


def audit(trees: Sequence[Tree], verbs: Verbs, settings: SelfplaySettings) -> None:
    """Search below the sampled pruned nodes of all trees, in lockstep, with as many simulations as a tree gets."""
    pruned = [node for tree in trees for _, node in walk(tree.root) if node.pruned]
    sampled = [node for node in pruned if is_sampled(node, settings)]
    again = [reopened(node) for node in sampled]
    open_settings = settings.model_copy(update={"prune_below": 0.0})
    evaluate(again, verbs, open_settings)
    grow(again, verbs, open_settings)
    for node, copy in zip(sampled, again, strict=True):
        node.audit = copy.solved


def is_sampled(node: Node, settings: SelfplaySettings) -> bool:
    """Whether the node is among the `audit_share` that is audited; the same for the same seed, problem and path."""
    seed = child_seed(settings.seed, node.state.problem.problem_id, "audit", *node.path)
    return Random(seed).random() < settings.audit_share


def reopened(node: Node) -> Node:
    """The node as it was before it was evaluated, belonging to no tree."""
    return Node(path=node.path, state=node.state, transition=node.transition, simulation=node.simulation)
