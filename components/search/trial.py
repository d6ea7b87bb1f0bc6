"""Search tried against what could be done instead, on problems that nothing was trained on.

Takes problems, verbs of one policy and settings; gives `Attempt` rows, one an arm and problem, and figures. Arms: the
tree (`search`), its own greedy path (`greedy`), plays at the tree's tokens and calls judged by the checker (`sampled`)
or by agreement (`agreed`), the exact ceiling on puzzles (`exhaustive`), trees that leave what gains too little over
a found answer (`bounded`), and trees that leave dead ends as well (`pruned`). A tree knows the checker, as self-play
does: what compares with it fairly is `sampled`. Compares nothing, keeps no clock.
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
from components.search.lessons import enough_simulations
from components.search.mcts import search
from components.search.settings import SelfplaySettings
from components.search.tree import Tree, walk
from components.search.verbs import Verbs

ENOUGH = 0.1
"""Return by which a further answer has to be better than a found one, where trees stop: one unit at lambda 0.1."""
OUTDONE = {"stop_outdone": True, "least_gain": ENOUGH}


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


def stopped(
    problems: Sequence[Problem], verbs: Verbs, settings: SelfplaySettings, *, below: float, simulations: int
) -> tuple[list[Attempt], dict[str, float]]:
    """Trees of at most `simulations` that leave what is below a p-hat or outdone (`pruned`), and trees that leave only
    what is outdone (`bounded`), with the simulations of the settings; figures about the states that p-hat stopped.

    Each of these is searched after all, with the simulations of a whole tree.
    """
    bounded = grown(problems, verbs, settings.model_copy(update=OUTDONE))
    stopping = settings.model_copy(update={**OUTDONE, "prune_below": below, "simulations": simulations})
    trees = grown(problems, verbs, stopping)
    attempts = [*searched("bounded", bounded, verbs), *searched("pruned", trees, verbs)]
    audit(trees, verbs, settings.model_copy(update={"audit_share": 1.0}))
    audits = [node.audit for tree in trees for _, node in walk(tree.root) if node.audit is not None]
    figures = {"threshold": below, "simulations_pruned": float(simulations)}
    return attempts, {**figures, "stopped": float(len(audits)), "stopped_wrongly": float(sum(audits))}


def simulations_needed(problems: Sequence[Problem], verbs: Verbs, settings: SelfplaySettings, *, below: float) -> int:
    """Simulations in which trees that stop solve as many of the problems as whole trees.

    To be chosen on other problems than those on which it is tried, and than those that taught p-hat.
    """
    whole = grown(problems, verbs, settings)
    less = grown(problems, verbs, settings.model_copy(update={**OUTDONE, "prune_below": below}))
    return enough_simulations(less, sum(tree.root.solved for tree in whole), most=settings.simulations)
