"""Reward as named parts (DESIGN 3.4). Takes a finished trajectory; gives parts and their weighted total. Runs no model.

A pure function of the record: the same trajectory can be scored again under new prices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from components.reward.likelihood import likelihood
from components.reward.settings import RewardSettings
from components.schema.cost import Cost
from components.schema.trajectory import StopReason, Trajectory

BAD_ENDS = frozenset({StopReason.MALFORMED, StopReason.TRUNCATED, StopReason.NO_ANSWER})


def reward_parts(
    trajectory: Trajectory, *, units: Callable[[Cost], float], mean_logprob: float | None, settings: RewardSettings
) -> dict[str, float]:
    """Unweighted parts: likelihood (if scored), correct (if judged), cost in units, malformed.

    A trajectory with an errored call earns no likelihood, is not correct and counts as malformed: errors are no way to
    think (science.md 3), and a call that fails is worse than none.
    """
    errored = any(result.is_error for transition in trajectory.transitions for result in transition.results)
    malformed = errored or trajectory.outcome.stop_reason in BAD_ENDS
    parts = {"cost": units(trajectory.outcome.cost), "malformed": float(malformed)}
    if mean_logprob is not None:
        parts["likelihood"] = 0.0 if errored else likelihood(mean_logprob, settings.likelihood)
    if trajectory.outcome.success is not None:
        parts["correct"] = float(trajectory.outcome.success and not errored)
    return parts


def total(parts: Mapping[str, float], settings: RewardSettings) -> float:
    """Weighted sum. A play that stopped before its answer has no verdict: the reference's likelihood stands in for it,
    which is the chance that an answer read off the results is right, as the scorer sees it."""
    known = parts.get("likelihood", 0.0)
    return (
        settings.likelihood_weight * known
        + settings.correct_weight * parts.get("correct", max(0.0, known))
        - settings.price * min(parts["cost"], settings.max_cost)
        - settings.malformed_weight * parts["malformed"]
    )


def scored(trajectory: Trajectory, parts: Mapping[str, float], settings: RewardSettings) -> Trajectory:
    """The trajectory with its parts, and the total on its last transition."""
    transitions = trajectory.transitions
    if transitions:
        transitions = (*transitions[:-1], replace(transitions[-1], reward=total(parts, settings)))
    return replace(trajectory, transitions=transitions, outcome=replace(trajectory.outcome, reward_parts=dict(parts)))
