"""Sampling in place of searching, at matched compute: independent plays until what a tree used is used up.

Takes problems, a policy that acts, and for each problem what may be spent; gives plays. Best-of-n chooses among the
plays without knowing the answer; rejection sampling keeps those that the checker accepts. A token counts once whether
it was read or written, and a shared prompt is read once, for trees and plays alike. Does not search or train.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from components.environment.step import finish, start, stop_reason
from components.schema.cost import Cost
from components.schema.identity import child_seed
from components.schema.problem import Problem
from components.schema.proposal import Proposal
from components.schema.trajectory import State, StopReason, Trajectory, Transition
from components.search.tree import Node, Tree, walk
from components.search.verbs import Act, Verbs


@dataclass(frozen=True, slots=True)
class Spent:
    """Compute that was used on a problem."""

    tokens: int = 0
    """Read and written."""
    calls: int = 0
    """Tool calls as charged."""

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.tokens + other.tokens, self.calls + other.calls)


@dataclass(frozen=True, slots=True)
class Plays:
    """What sampling made of a problem."""

    problem_id: str
    trajectories: tuple[Trajectory, ...]
    """In the order in which they were played."""
    spent: Spent


def spent_by(tree: Tree) -> Spent:
    """What a search used: every state that was read, every action that was proposed, every call that was made."""
    spent = Spent()
    above: dict[tuple[int, ...], int] = {}
    for edge, node in walk(tree.root):
        before = 0 if edge is None else above[node.path[:-1]] + len(edge.action.message.token_ids or ())
        above[node.path] = read = _context(node) or before
        calls = 0 if node.transition is None else node.transition.cost.calls
        spent += Spent(max(0, read - before) + node.written_tokens, calls)
    return spent


def _context(node: Node) -> int:
    """Tokens of the state; 0 where the model was not asked."""
    return node.context_tokens or ((node.edges[0].context_tokens or 0) if node.edges else 0)


@dataclass(slots=True)
class _Sampling:
    """A problem being played again and again."""

    problem: Problem
    budget: Spent
    state: State
    transitions: list[Transition] = field(default_factory=list)
    read: int = 0
    """Tokens of the present play that were read or written before its next turn."""
    spent: Spent = Spent()
    done: list[Trajectory] = field(default_factory=list)

    def goes_on(self) -> bool:
        """Whether a turn is due: a play has begun, or what is left allows another."""
        left = self.spent.tokens < self.budget.tokens and self.spent.calls <= self.budget.calls
        return bool(self.transitions) or left or not self.done

    def seed(self, seed: int) -> int:
        return child_seed(seed, self.problem.problem_id, len(self.done))


def sample_within(
    problems: Sequence[Problem],
    budgets: Sequence[Spent],
    act: Act,
    verbs: Verbs,
    *,
    max_depth: int,
    policy_id: str,
    seed: int,
) -> tuple[Plays, ...]:
    """Plays of each problem until its budget is used up, all problems in lockstep.

    The play under way when tokens or calls run out is finished, and there is at least one, so that sampling never gets
    less than the search did.
    """
    sampling = [_Sampling(p, budget, start(p)) for p, budget in zip(problems, budgets, strict=True)]
    while active := [one for one in sampling if one.goes_on()]:
        seeds = [child_seed(one.seed(seed), len(one.transitions)) for one in active]
        turns = act([one.state for one in active], seeds=seeds)
        stepped = verbs.step_many(
            [one.state for one in active],
            [turn.action for turn in turns],
            prompt_tokens=[turn.context_tokens or 0 for turn in turns],
        )
        for one, turn, (state, transition) in zip(active, turns, stepped, strict=True):
            _take(one, turn, state, transition)
            if state.done or len(one.transitions) >= max_depth:
                _finish(one, verbs, policy_id=policy_id, seed=one.seed(seed))
    return tuple(Plays(one.problem.problem_id, tuple(one.done), one.spent) for one in sampling)


def _take(one: _Sampling, turn: Proposal, state: State, transition: Transition) -> None:
    context = turn.context_tokens or 0
    shared = bool(one.done) and not one.transitions
    read = 0 if shared else max(0, context - one.read)
    one.spent += Spent(read + turn.action.tokens_written, transition.cost.calls)
    one.read = context + len(turn.action.message.token_ids or ())
    one.state = state
    one.transitions.append(transition)


def _finish(one: _Sampling, verbs: Verbs, *, policy_id: str, seed: int) -> None:
    answered = stop_reason(one.state, one.transitions) is StopReason.ANSWERED
    success = answered and verbs.judge(one.problem, one.transitions[-1].action.message.content.strip())
    one.done.append(finish(one.state, one.transitions, policy_id=policy_id, seed=seed, success=success))
    one.state, one.transitions, one.read = start(one.problem), [], 0


def best_of_n(plays: Plays) -> Trajectory:
    """The play whose answer most plays agree on (self-consistency, Wang et al. 2022), the first of them."""
    answers = Counter(one.outcome.answer for one in plays.trajectories if one.outcome.answer is not None)
    if not answers:
        return plays.trajectories[0]
    wanted = answers.most_common(1)[0][0]
    return next(one for one in plays.trajectories if one.outcome.answer == wanted)


def rejection_sampled(plays: Plays, units: Callable[[Cost], float]) -> Trajectory | None:
    """The cheapest correct play (then the shortest, then the first); None where none is correct."""
    correct = [one for one in plays.trajectories if one.outcome.success]
    return min(correct, key=lambda one: (units(one.outcome.cost), len(one.transitions)), default=None)
