"""What a found answer makes needless: states from which none can be cheaper.

Takes roots of searched trees; marks nodes below them. A correct answer returns 1 - lambda * cost, whoever gave it, and
cost only grows on the way down, so a state that has cost as much as the cheapest correct answer cannot lead to a better
one, nor can a call that costs the rest. This bound is exact where calls cost what `Verbs.charge` says, and loses
nothing; what is likely to fail is stopped elsewhere (`components.search.mcts.evaluate`).
"""

from __future__ import annotations

from collections.abc import Sequence

from components.search.tree import Node, walk
from components.search.verbs import Verbs


def leave_outdone(roots: Sequence[Node], verbs: Verbs) -> None:
    """Mark what is outdone in every solved tree, nodes and what is still to be written at the others."""
    for root in roots:
        if root.solved:
            _leave(root, verbs, cheapest=min(_spent(node, verbs) for _, node in walk(root) if node.success))


def _leave(node: Node, verbs: Verbs, *, cheapest: float) -> None:
    spent = _spent(node, verbs)
    node.outdone = not node.terminal and spent >= cheapest
    for blank in node.blanks:
        blank.outdone = spent + verbs.units(verbs.charge(blank.decision)) >= cheapest
    for edge in node.edges:
        if edge.child is not None:
            _leave(edge.child, verbs, cheapest=cheapest)
    if not node.terminal:
        node.refresh()


def _spent(node: Node, verbs: Verbs) -> float:
    return verbs.units(node.state.spent)
