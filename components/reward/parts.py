"""Reward as named parts (DESIGN 3.4). Takes a finished trajectory; gives parts and their weighted total. Runs no model.

A pure function of the record: the same trajectory can be scored again under new prices and weights. What was not scored
is None; nothing here takes it for zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from components.reward.likelihood import final_value, has_error, is_over, potentials, shaping
from components.reward.settings import RewardSettings
from components.schema.cost import Cost
from components.schema.trajectory import StopReason, Trajectory
from components.tools.prices import PriceSheet

BAD_ENDS = frozenset({StopReason.MALFORMED, StopReason.TRUNCATED, StopReason.NO_ANSWER})

PARTS = ("likelihood", "correct", "chance", "preference", "time", "money", "malformed")
Parts = Mapping[str, float | None]
"""A value, or None, for each of `PARTS`; see `reward_parts`."""


def reward_parts(trajectory: Trajectory, *, prices: PriceSheet, settings: RewardSettings) -> dict[str, float | None]:
    """The unweighted parts of a trajectory.

    likelihood  of the reference, in the form and mode of the settings; None when the states it needs were not read
    correct     1 or 0 by the checker; None when there was no answer to judge
    chance      1/PPL at the end of a play that stopped before its answer: stands in for `correct`; None elsewhere
    preference  the annotators' verdict, -1 to 1; None where they said nothing
    time, money units of the price sheet
    malformed   1 when a call failed or a turn was unusable, else 0

    A trajectory with an errored call earns no likelihood, is not correct and counts as malformed: errors are no way to
    think (science.md 3), and a call that fails is worse than none.
    """
    outcome, errored = trajectory.outcome, has_error(trajectory.transitions)
    spent = outcome.cost if settings.nested_costs else own_cost(trajectory)
    judged = outcome.success is not None
    return {
        "likelihood": _likelihood(trajectory, settings),
        "correct": float(outcome.success and not errored) if outcome.success is not None else None,
        "chance": None if judged or is_over(trajectory) else _chance(trajectory),
        "preference": None if outcome.evidence is None else outcome.evidence.preference,
        "time": prices.time_units(spent),
        "money": prices.money_units(spent),
        "malformed": float(errored or outcome.stop_reason in BAD_ENDS),
    }


def own_cost(trajectory: Trajectory) -> Cost:
    """Seconds and money of its own calls, without those that were made inside nested ones."""
    inside = [inner.outcome.cost for transition in trajectory.transitions for inner in transition.nested]
    whole = trajectory.outcome.cost
    return Cost(
        seconds=whole.seconds - math.fsum(cost.seconds for cost in inside),
        money=whole.money - math.fsum(cost.money for cost in inside),
    )


def _likelihood(trajectory: Trajectory, settings: RewardSettings) -> float | None:
    if settings.likelihood_mode == "kept":
        return final_value(trajectory, settings)
    steps = potentials(trajectory, settings)
    return None if steps is None else math.fsum(shaping(steps))


def _chance(trajectory: Trajectory) -> float | None:
    return final_value(trajectory, _PLAIN)


_PLAIN = RewardSettings()
"""1/PPL without contrast: the chance that an answer read off the results is right, as the scorer sees it."""


def total(parts: Parts, settings: RewardSettings) -> float | None:
    """Weighted sum; None when a part with a weight was not scored and nothing stands in for it.

    `chance` stands in for `correct`. An absent preference adds nothing: most actions were never compared, and its scale
    is centred on indifference.
    """
    known, verdict = parts["likelihood"], parts["correct"] if parts["correct"] is not None else parts["chance"]
    if (known is None and settings.likelihood_weight) or (verdict is None and settings.correct_weight):
        return None
    return (
        settings.likelihood_weight * (known or 0.0)
        + settings.correct_weight * (verdict or 0.0)
        + settings.preference_weight * (parts["preference"] or 0.0)
        - settings.price * min(cost_of(parts, settings), settings.max_cost)
        - settings.malformed_weight * (parts["malformed"] or 0.0)
    )


def cost_of(parts: Parts, settings: RewardSettings) -> float:
    """Time and money together, in units."""
    return settings.time_weight * (parts["time"] or 0.0) + settings.money_weight * (parts["money"] or 0.0)


def scored(trajectory: Trajectory, parts: Parts, settings: RewardSettings) -> Trajectory:
    """The trajectory with its parts on the outcome and its rewards on the transitions."""
    rewards = step_rewards(trajectory, parts, settings)
    transitions = tuple(replace(t, reward=r) for t, r in zip(trajectory.transitions, rewards, strict=True))
    return replace(trajectory, transitions=transitions, outcome=replace(trajectory.outcome, reward_parts=dict(parts)))


def step_rewards(trajectory: Trajectory, parts: Parts, settings: RewardSettings) -> tuple[float | None, ...]:
    """One reward a transition: the total on the last one, and in potential mode each step's own shaping."""
    whole, count = total(parts, settings), len(trajectory.transitions)
    if not count:
        return ()
    phi = potentials(trajectory, settings) if settings.likelihood_mode == "potential" else None
    if whole is None or phi is None:
        return (*(None,) * (count - 1), whole)
    steps = [settings.likelihood_weight * step for step in shaping(phi)]
    return (*steps[:-1], whole - math.fsum(steps[:-1]))
