"""What evaluation keeps of one trajectory.

Takes problems, their trajectories and a price; gives one `EvalRow` a problem. Does not average anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from components.schema.cost import Cost
from components.schema.problem import Problem
from components.schema.trajectory import ANSWER, StopReason, Trajectory, Transition

Price = Callable[[Cost], float]


@dataclass(frozen=True, slots=True)
class EvalRow:
    """One policy on one problem."""

    policy: str
    """Name of the policy in the report: clone, reinforced, final, always-search, ..."""
    problem_id: str
    group: str
    """The cluster of the bootstrap."""
    slices: tuple[str, ...]
    success: bool | None
    """Checker's verdict; None when it could not be judged (excluded, never counted as wrong)."""
    calls: int
    """Tool calls made, nested ones included."""
    cost: float
    """Cost of the trajectory in units of the price sheet."""
    attempts: int
    """Turns that were or tried to be a tool call."""
    invalid: int
    """Attempts that were malformed, cut off, or answered by an error."""
    decision: str
    """The decision at the root: answer or a tool's name."""
    answer: str | None
    seconds: float = 0.0
    """Recorded seconds of the tool calls (the price sheet's, never a clock's)."""
    unsafe: int = 0
    """Calls that were refused for safety."""


def rows_of(
    policy: str, problems: Sequence[Problem], trajectories: Iterable[Trajectory], price: Price
) -> tuple[EvalRow, ...]:
    """One row a problem that was played, in the order of `problems`; two trajectories of one problem are an error."""
    played: dict[str, Trajectory] = {}
    for trajectory in trajectories:
        if trajectory.problem_id in played:
            raise ValueError(f"policy {policy!r} played problem {trajectory.problem_id!r} twice")
        played[trajectory.problem_id] = trajectory
    strangers = played.keys() - {problem.problem_id for problem in problems}
    if strangers:
        raise ValueError(f"policy {policy!r} played unknown problems, e.g. {min(strangers)!r}")
    return tuple(
        _row(policy, problem, played[problem.problem_id], price) for problem in problems if problem.problem_id in played
    )


def _row(policy: str, problem: Problem, trajectory: Trajectory, price: Price) -> EvalRow:
    attempts = [transition for transition in trajectory.transitions if is_attempt(transition)]
    outcome = trajectory.outcome
    return EvalRow(
        policy=policy,
        problem_id=problem.problem_id,
        group=problem.group,
        slices=problem.slices,
        success=outcome.success,
        calls=outcome.cost.calls,
        cost=float(price(outcome.cost)),
        attempts=len(attempts),
        invalid=sum(map(is_invalid, attempts)),
        decision=trajectory.transitions[0].action.decision if trajectory.transitions else ANSWER,
        answer=outcome.answer,
        seconds=outcome.cost.seconds,
        unsafe=sum(result.refused for transition in attempts for result in transition.results),
    )


def is_attempt(transition: Transition) -> bool:
    """True for turns that were, or tried to be, a tool call."""
    action = transition.action
    return action.decision != ANSWER or action.stop is StopReason.MALFORMED


def is_invalid(transition: Transition) -> bool:
    """True for attempts that were malformed, cut off, or answered by an error."""
    return transition.action.stop is not None or any(result.is_error for result in transition.results)
