"""What a found answer makes needless: states from which none can be cheaper, or not by enough.

Takes roots of searched trees; marks nodes below them. A correct answer returns 1 - lambda * cost, whoever gave it, and
cost only grows on the way down, so a state that has cost as much as the cheapest correct answer cannot lead to a better
one, nor can a call that costs the rest. This bound is exact where calls cost what `Verbs.charge` says: it loses
nothing, or with a margin at most the margin; what is likely to fail is stopped elsewhere
(`components.search.appraisal.evaluate`).
"""

from __future__ import annotations

from collections.abc import Sequence

from components.search.tree import Node, walk
from components.search.verbs import Verbs


def leave_outdone(roots: Sequence[Node], verbs: Verbs, *, margin: float = 0.0) -> None:
    """Mark what is outdone in every solved tree, nodes and what is still to be written at the others.

    `margin`: units by which an answer has to be cheaper than the one that was found, to be looked for.
    """
    for root in roots:
        if root.solved:
            cheapest = min(_spent(node, verbs) for _, node in walk(root) if node.success)
            _leave(root, verbs, enough=cheapest - margin)


def _leave(node: Node, verbs: Verbs, *, enough: float) -> None:
    spent = _spent(node, verbs)
    node.outdone = not node.terminal and spent >= enough
    for blank in node.blanks:
        blank.outdone = spent + verbs.units(verbs.charge(blank.decision)) >= enough
    for edge in node.edges:
        if edge.child is not None:
            _leave(edge.child, verbs, enough=enough)
    if not node.terminal:
        node.refresh()


def _spent(node: Node, verbs: Verbs) -> float:
    return verbs.units(node.state.spent)
