"""What searched trees teach about the worth of states: whether a correct answer was found below, and what it cost.

Takes searched trees; gives `Lesson` rows, and what follows from estimates made of them: the chance below which to stop,
and the simulations that a search needs. Fits nothing: see `components.training.tree_values`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from components.schema.cost import Cost
from components.schema.trajectory import State
from components.search.tree import Node, Tree, walk

TOLERATED = 0.01
"""Share of the states below a threshold that may lead to a correct answer, where it is chosen."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """A state that was searched below."""

    state: State
    solved: bool
    """Whether a correct answer was found there."""
    cost_to_go: float | None
    """Units spent from here to the ends that were found below, on average; None where there was no end."""
    at_root: bool
    visits: int
    """How much was tried there; of few tries, failure says little."""


def lessons(trees: Sequence[Tree], units: Callable[[Cost], float]) -> list[Lesson]:
    """Every state from which something was tried; of the others nobody knows."""
    nodes = [node for tree in trees for _, node in walk(tree.root) if node.visits > 1]
    return [_lesson(node, units) for node in nodes]


def _lesson(node: Node, units: Callable[[Cost], float]) -> Lesson:
    spent = units(node.state.spent)
    ends = [units(end.state.spent) - spent for _, end in walk(node) if end.terminal]
    to_go = sum(ends) / len(ends) if ends else None
    return Lesson(node.state, node.solved, to_go, not node.path, node.visits)


def threshold(learnt: Sequence[Lesson], chances: Sequence[float], *, min_visits: int) -> float:
    """The greatest p-hat below which at most `TOLERATED` of the states lead to a correct answer; 0 if there is none.

    Only states that were visited `min_visits` times tell: one that is searched in earnest is solved more often than one
    that was tried once. `chances` has to come from heads that did not see the state's problem: those that did are too
    sure.
    """
    pairs = zip(learnt, chances, strict=True)
    told = sorted((p, one.solved) for one, p in pairs if not one.at_root and one.visits >= min_visits)
    found, good = 0.0, 0
    for below, (chance, solved) in enumerate(told):
        if good <= TOLERATED * below:
            found = chance
        good += solved
    return found


def enough_simulations(trees: Sequence[Tree], solved: int, *, most: int) -> int:
    """The fewest simulations in which as many of the trees found an answer as `solved`; `most` where they never did.

    A PUCT tree of fewer simulations is the beginning of one of more, so one growth tells about all; Gumbel's halving
    plans by their number, and there this is an estimate.
    """
    won = [tree for tree in trees if tree.root.solved]
    first = sorted(min(node.simulation for _, node in walk(tree.root) if node.success) for tree in won)
    return max(1, first[solved - 1]) if 0 < solved <= len(first) else most
