"""Sample trajectories as a person reads them.

Takes problems with the trajectories of one policy; gives plain views (prompt, calls, results, answer, verdict) ready
for the report. Does not render HTML and does not judge.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from components.evaluation.rows import Price
from components.schema.identity import stable_hash
from components.schema.problem import Problem
from components.schema.trajectory import ANSWER, Trajectory, Transition


@dataclass(frozen=True, slots=True)
class TurnView:
    """One turn of the policy."""

    decision: str
    draft: str | None
    """The answer that was written first and left for this call; None where none was."""
    text: str
    """The call as `name(argument="...")`, or the words of the turn."""
    results: tuple[str, ...]
    """What the tool showed; empty for answers."""
    failed: bool
    """True when the turn was unusable or a result was an error."""
    probabilities: tuple[tuple[str, float], ...]
    """Decision and its probability, most likely first; empty when not computed."""
    cost: float
    """Cost of this turn in units."""


@dataclass(frozen=True, slots=True)
class SampleView:
    """One trajectory with its problem."""

    prompt: str
    slices: tuple[str, ...]
    turns: tuple[TurnView, ...]
    answer: str | None
    """The words of the answer turn, also when it was cut off; None when there was no answer turn."""
    reference: str
    verdict: str
    """right, wrong or unscored."""
    stop_reason: str
    cost: float
    calls: int


def choose_samples(
    problems: Sequence[Problem], trajectories: Iterable[Trajectory], price: Price, *, count: int
) -> tuple[SampleView, ...]:
    """`count` trajectories in words, chosen by `choose`."""
    chosen = choose(problems, trajectories, count=count)
    return tuple(view(problem, trajectory, price) for problem, trajectory in chosen)


def choose(
    problems: Sequence[Problem], trajectories: Iterable[Trajectory], *, count: int
) -> tuple[tuple[Problem, Trajectory], ...]:
    """`count` trajectories spread evenly over families, wrong and right by turns; the order is a stable hash."""
    played = {trajectory.problem_id: trajectory for trajectory in trajectories}
    queues: dict[str, list[Problem]] = {}
    for problem in sorted(problems, key=lambda problem: stable_hash(problem.problem_id)):
        if problem.problem_id in played:
            queues.setdefault(problem.family, []).append(problem)
    ranked = [item for queue in queues.values() for item in _ranks(queue, played)]
    ranked.sort(key=lambda item: (item[0], item[1].family))
    chosen = sorted((problem for _, problem in ranked[:count]), key=lambda problem: problem.family)
    return tuple((problem, played[problem.problem_id]) for problem in chosen)


def view(problem: Problem, trajectory: Trajectory, price: Price) -> SampleView:
    """The trajectory in words."""
    outcome = trajectory.outcome
    return SampleView(
        prompt=problem.prompt,
        slices=problem.slices,
        turns=tuple(_turn(transition, price) for transition in trajectory.transitions),
        answer=_answer(trajectory),
        reference=problem.reference.text,
        verdict={True: "right", False: "wrong", None: "unscored"}[outcome.success],
        stop_reason=outcome.stop_reason.value.replace("_", " "),
        cost=float(price(outcome.cost)),
        calls=outcome.cost.calls,
    )


def _ranks(queue: Sequence[Problem], played: dict[str, Trajectory]) -> list[tuple[int, Problem]]:
    """Rank within the family, wrong and right taking turns."""
    wrong = [problem for problem in queue if not played[problem.problem_id].outcome.success]
    right = [problem for problem in queue if played[problem.problem_id].outcome.success]
    ranked = [(2 * i, problem) for i, problem in enumerate(right)] + [(2 * i + 1, p) for i, p in enumerate(wrong)]
    ranked.sort(key=lambda item: item[0])
    return list(enumerate(problem for _, problem in ranked))


def _turn(transition: Transition, price: Price) -> TurnView:
    action = transition.action
    probabilities = sorted((action.decision_probs or {}).items(), key=lambda item: -item[1])
    return TurnView(
        decision=action.decision,
        draft=None if action.draft is None else action.draft.content,
        text=_words(transition),
        results=tuple(result.content for result in transition.results),
        failed=action.stop is not None or any(result.is_error for result in transition.results),
        probabilities=tuple(probabilities),
        cost=float(price(transition.cost)),
    )


def _answer(trajectory: Trajectory) -> str | None:
    if trajectory.outcome.answer is not None or not trajectory.transitions:
        return trajectory.outcome.answer
    last = trajectory.transitions[-1].action
    return last.message.content if last.decision == ANSWER else None


def _words(transition: Transition) -> str:
    action = transition.action
    if action.call is None or action.decision == ANSWER:
        return action.message.content
    arguments = ", ".join(f"{k}={json.dumps(v, ensure_ascii=False)}" for k, v in action.call.arguments.items())
    return f"{action.call.name}({arguments})"
