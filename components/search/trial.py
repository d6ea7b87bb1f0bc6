"""Search tried against what could be done instead, on problems that nothing was trained on.

Takes problems, verbs of one policy and settings; gives `Attempt` rows, one an arm and problem, and figures. Arms: the
tree (`search`), its own greedy path (`greedy`), plays at the tree's tokens and calls judged by the checker (`sampled`)
or by agreement (`agreed`), the exact ceiling on puzzles (`exhaustive`), and trees that stop dead ends (`pruned`). A
tree knows the checker, as self-play does: what compares with it fairly is `sampled`. Compares nothing, keeps no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from components.schema.problem import Problem
from components.schema.trajectory import Trajectory
from components.search.audit import audit
from components.search.baselines import best_of_n, sample_within, spent_by
from components.search.exhaustive import exhaust
from components.search.greedy import greedy_successes
from components.search.mcts import search
from components.search.settings import SelfplaySettings
from components.search.tree import Tree, walk
from components.search.verbs import Verbs

TOLERATED = 0.01
"""Share of the states on a way to a correct answer that a threshold may cost, where it is chosen."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one arm made of one problem."""

    arm: str
    problem_id: str
    group: str
    """The cluster of the bootstrap."""
    family: str
    solved: bool
    tokens: int | None = None
    """Read and written; None where they were not counted."""
    calls: int | None = None
    units: float | None = None
    """Cost of the tool calls in units of the price sheet; None where it was not counted."""


def grown(problems: Sequence[Problem], verbs: Verbs, settings: SelfplaySettings) -> tuple[Tree, ...]:
    """A tree a problem, in blocks of `settings.trees`."""
    blocks = (problems[first : first + settings.trees] for first in range(0, len(problems), settings.trees))
    return tuple(tree for block in blocks for tree in _fresh(block, verbs, settings))


def _fresh(block: Sequence[Problem], verbs: Verbs, settings: SelfplaySettings) -> tuple[Tree, ...]:
    verbs.forget()
    return search(block, verbs, settings)


def searched(arm: str, trees: Sequence[Tree], verbs: Verbs) -> list[Attempt]:
    """The trees, by whether they hold a correct answer."""
    return [_searched(arm, tree, verbs) for tree in trees]


def _searched(arm: str, tree: Tree, verbs: Verbs) -> Attempt:
    spent, made = spent_by(tree), [node.transition for _, node in walk(tree.root)]
    units = sum(verbs.units(one.cost) for one in made if one is not None)
    return _attempt(arm, tree.root.state.problem, tree.root.solved, spent.tokens, spent.calls, units)


def greedy(trees: Sequence[Tree], verbs: Verbs, settings: SelfplaySettings) -> list[Attempt]:
    """The same policy without a search."""
    successes = greedy_successes(trees, verbs, settings)
    pairs = zip(trees, successes, strict=True)
    return [_attempt("greedy", tree.root.state.problem, success) for tree, success in pairs]


def sampled(trees: Sequence[Tree], verbs: Verbs, settings: SelfplaySettings) -> list[Attempt]:
    """Plays at each tree's tokens and calls: whether one is correct, and whether the one most agree on is.

    Raises:
        ValueError: the verbs do not act.
    """
    if verbs.act is None:
        raise ValueError("there is no verb `act` to sample with")
    problems = [tree.root.state.problem for tree in trees]
    budgets = [spent_by(tree) for tree in trees]
    depth, seed = settings.max_depth, settings.seed
    plays = sample_within(problems, budgets, verbs.act, verbs, max_depth=depth, policy_id="sampled", seed=seed)
    attempts = []
    for problem, one in zip(problems, plays, strict=True):
        units = sum(verbs.units(play.outcome.cost) for play in one.trajectories)
        for arm, solved in (("sampled", _any_right(one.trajectories)), ("agreed", _any_right([best_of_n(one)]))):
            attempts.append(_attempt(arm, problem, solved, one.spent.tokens, one.spent.calls, units))
    return attempts


def _any_right(plays: Sequence[Trajectory]) -> bool:
    return any(play.outcome.success for play in plays)


def ceiling(problems: Sequence[Problem], judge: Callable[[Problem, str], bool]) -> list[Attempt]:
    """The puzzles among the problems, solved exactly."""
    puzzles = [problem for problem in problems if problem.checker.kind == "expression"]
    found = [(problem, exhaust(problem, judge)) for problem in puzzles]
    return [_attempt("exhaustive", problem, one is not None and bool(one.outcome.success)) for problem, one in found]


def played(arm: str, problems: Sequence[Problem], plays: Sequence[Trajectory], verbs: Verbs) -> list[Attempt]:
    """Trajectories that somebody else played, one a problem, in order."""
    attempts = []
    for problem, play in zip(problems, plays, strict=True):
        cost = play.outcome.cost
        tokens = cost.prompt_tokens + cost.completion_tokens
        attempts.append(_attempt(arm, problem, bool(play.outcome.success), tokens, cost.calls, verbs.units(cost)))
    return attempts


def _attempt(
    arm: str,
    problem: Problem,
    solved: bool,
    tokens: int | None = None,
    calls: int | None = None,
    units: float | None = None,
) -> Attempt:
    return Attempt(arm, problem.problem_id, problem.group, problem.family, solved, tokens, calls, units)


def simulations(trees: Sequence[Tree]) -> int:
    """Passes after those that evaluated the roots."""
    return sum(tree.root.visits - 1 for tree in trees)


# Dead ends ------------------------------------------------------------------------------------------------------------


def threshold(trees: Sequence[Tree]) -> float:
    """The greatest p-hat below which at most `TOLERATED` of the states on a way to a correct answer lie; 0 if none is.

    To be chosen on other problems than those on which it is tried.
    """
    inner = [node for tree in trees for _, node in walk(tree.root) if node.path and node.worth is not None]
    good = sorted(node.worth.chance for node in inner if node.solved and node.worth is not None)
    return good[int(TOLERATED * len(good))] if good else 0.0


def pruned(
    problems: Sequence[Problem], verbs: Verbs, settings: SelfplaySettings, below: float
) -> tuple[list[Attempt], dict[str, float]]:
    """Trees that stop below a p-hat, with every state that they stopped searched after all; figures about these."""
    stopping = settings.model_copy(update={"prune_below": below, "audit_share": 1.0})
    trees = grown(problems, verbs, stopping)
    attempts = searched("pruned", trees, verbs)
    audit(trees, verbs, stopping)
    audits = [node.audit for tree in trees for _, node in walk(tree.root) if node.audit is not None]
    return attempts, {"threshold": below, "stopped": float(len(audits)), "stopped_wrongly": float(sum(audits))}
