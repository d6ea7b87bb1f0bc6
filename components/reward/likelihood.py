"""Likelihood of the reference as reward (DESIGN 1, row 5). Takes a frozen scorer's readings; gives Phi and its steps.

The scorer reads the question and the tool responses, never the calls: a query with the answer earns nothing by it.
Runs no model: what it needs was recorded (`Evidence`). Discount 1, as everywhere here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from components.reward.settings import Form, RewardSettings
from components.schema.trajectory import Reading, Trajectory, Transition


def likelihood(mean: float, form: Form, *, max_perplexity: float = math.inf) -> float:
    """1/PPL = exp(mean) in (0, 1] (of `gain`, too, before the root's is subtracted), or -PPL = -exp(-mean), cut."""
    return -min(math.exp(-mean), max_perplexity) if form == "neg_ppl" else math.exp(mean)


def has_error(transitions: Sequence[Transition]) -> bool:
    """Whether one of these calls failed."""
    return any(result.is_error for transition in transitions for result in transition.results)


def is_over(trajectory: Trajectory) -> bool:
    """Whether it came to its end; a play that was stopped at a call's results still had a turn to come."""
    return not (trajectory.transitions and trajectory.transitions[-1].results)


def final_value(trajectory: Trajectory, settings: RewardSettings) -> float | None:
    """Phi of the last state that the scorer can tell apart; None when that was not read."""
    return _value(trajectory, len(trajectory.transitions), settings)


def potentials(trajectory: Trajectory, settings: RewardSettings) -> tuple[float, ...] | None:
    """Phi before every transition and after the last one, 0 where the play is over; None when a state was not read.

    Potential-based shaping needs Phi = 0 at the end of an episode, or it moves the optimum (Ng et al. 1999, theorem 1
    with an absorbing state).
    """
    count = len(trajectory.transitions)
    values = [_value(trajectory, state, settings) for state in range(count + (not is_over(trajectory)))]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return (*known, 0.0) if is_over(trajectory) else tuple(known)


def shaping(potentials: Sequence[float]) -> tuple[float, ...]:
    """F = Phi(s') - Phi(s) of every step (Ng et al. 1999, equation 2 with discount 1); sums to last less first."""
    return tuple(after - before for before, after in pairwise(potentials))


def _value(trajectory: Trajectory, state: int, settings: RewardSettings) -> float | None:
    """Phi after `state` transitions. After a failed call it is the least there is: errors are no way to think."""
    readings = _by_responses(trajectory)
    so_far = trajectory.transitions[:state]
    seen, form = sum(len(transition.results) for transition in so_far), settings.likelihood
    here, root = readings.get(seen), readings.get(0)
    now = None if here is None else _contrasted(here, settings)
    before = 0.0 if form != "gain" else None if root is None else _contrasted(root, settings)
    if now is None or before is None:
        return None
    failed = -settings.max_perplexity if form == "neg_ppl" else 0.0
    return (failed if has_error(so_far) else now) - before


def _contrasted(reading: Reading, settings: RewardSettings) -> float | None:
    """Phi(reference), less the mean Phi of the wrong answers where they are asked for: what the template of a sentence
    earns, both earn (science.md 3). None when they were not read."""

    def phi(mean: float) -> float:
        return likelihood(mean, settings.likelihood, max_perplexity=settings.max_perplexity)

    if not settings.distractors:
        return phi(reading.mean_logprob)
    wrong = [phi(mean) for mean in reading.rivals[: settings.distractors]]
    return phi(reading.mean_logprob) - sum(wrong) / len(wrong) if wrong else None


def _by_responses(trajectory: Trajectory) -> Mapping[int, Reading]:
    evidence = trajectory.outcome.evidence
    return {} if evidence is None else {reading.responses: reading for reading in evidence.readings}
