"""The perplexity filter: did the calls help? Takes demonstrations and a frozen scorer; gives one verdict each.

Toolformer's criterion (Schick et al. 2023, eq. 3), over the whole chain of calls, for an early hop need not help alone:
dL = min(L(s), L(s + calls without responses)) - L(s + calls with responses), L = mean loss per token of the reference's
answer span. Calls are kept from tau_keep on; at tau_abstain or below they did harm; in between they made no difference.
Left out: the cost term, and the text of the calls themselves (the scorer reads results only)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from components.curation.settings import CurateSettings
from components.schema.problem import Problem, Reference
from components.schema.trajectory import Trajectory

ScoreReference = Callable[[Sequence[tuple[str, Sequence[str], Reference]]], Sequence[float]]
"""(prompt, tool result texts, reference) to mean log-probability per token of the answer span."""
Verdict = Literal["keep", "no_gain", "harm"]


def verdicts(
    demonstrations: Sequence[tuple[Problem, Trajectory]], score: ScoreReference, settings: CurateSettings
) -> tuple[Verdict, ...]:
    """One verdict a demonstration, scored in one batch; demonstrations without calls to judge are kept."""
    judged = [index for index, (problem, trajectory) in enumerate(demonstrations) if _judged(problem, trajectory)]
    items = [item for index in judged for item in _items(*demonstrations[index])]
    scores = list(score(items)) if items else []
    gains = {index: _gain(*scores[3 * at : 3 * at + 3]) for at, index in enumerate(judged)}
    return tuple(_verdict(gains.get(index), settings) for index in range(len(demonstrations)))


def results_of(trajectory: Trajectory) -> tuple[str, ...]:
    """The texts of all tool results, oldest first."""
    return tuple(result.content for transition in trajectory.transitions for result in transition.results)


def _judged(problem: Problem, trajectory: Trajectory) -> bool:
    """Puzzle calls check a candidate instead of informing, so likelihood says nothing about them."""
    return problem.checker.kind != "expression" and bool(results_of(trajectory))


def _items(problem: Problem, trajectory: Trajectory) -> tuple[tuple[str, Sequence[str], Reference], ...]:
    results = results_of(trajectory)
    without = ("",) * len(results)
    return tuple((problem.prompt, shown, problem.reference) for shown in ((), without, results))


def _gain(plain: float, called: float, answered: float) -> float:
    return min(-plain, -called) + answered


def _verdict(gain: float | None, settings: CurateSettings) -> Verdict:
    if gain is None or gain >= settings.tau_keep:
        return "keep"
    return "harm" if gain <= settings.tau_abstain else "no_gain"
