"""Annotated preferences as reward (DESIGN 1, row 6). Takes pairs of actions; gives a verdict on a trajectory's actions.

A pair speaks of a trajectory's action when the state is the same: the same problem, the same calls before with the same
results. If its two actions choose differently (a tool against an answer, one tool against another) it is about the
decision, and every action that decides so is meant; if both call the same tool it is about the arguments, which must
then be equal; two answers must be equal in text. Does not train on pairs.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from components.schema.curated import ActionPreference
from components.schema.trajectory import Action, Trajectory, Transition

Verdict = Callable[[Trajectory], float | None]


def no_verdict(trajectory: Trajectory) -> None:
    """Nobody was asked."""


def verdict_of(preferences: Sequence[ActionPreference]) -> Verdict:
    """The mean of +-(2 * confidence - 1) over all pairs that speak of a trajectory's actions; None when none does.

    2c - 1 is the expected sign of a comparison that holds with probability c: a pair of confidence 0.5 says nothing.
    """
    by_state: defaultdict[str, list[ActionPreference]] = defaultdict(list)
    for preference in preferences:
        by_state[_state(preference.problem_id, preference.steps)].append(preference)

    def verdict(trajectory: Trajectory) -> float | None:
        said = [
            spoken
            for turn, transition in enumerate(trajectory.transitions)
            for pair in by_state.get(_state(trajectory.problem_id, trajectory.transitions[:turn]), ())
            if (spoken := _spoken(pair, transition.action)) is not None
        ]
        return sum(said) / len(said) if said else None

    return verdict


def _spoken(pair: ActionPreference, action: Action) -> float | None:
    strength = 2.0 * pair.confidence - 1.0
    view = _view(pair)
    if view(action) == view(pair.chosen):
        return strength
    return -strength if view(action) == view(pair.rejected) else None


def _view(pair: ActionPreference) -> Callable[[Action], Any]:
    """What of an action the pair is about."""
    if pair.chosen.decision != pair.rejected.decision:
        return lambda action: action.decision
    return _act


def _act(action: Action) -> Any:
    if action.call is None:
        return action.decision, action.message.content.strip()
    return action.call.name, dict(action.call.arguments)


def _state(problem_id: str, steps: Sequence[Transition]) -> str:
    turns = [[_act(step.action), [result.content for result in step.results]] for step in steps]
    return json.dumps([problem_id, turns], sort_keys=True)
