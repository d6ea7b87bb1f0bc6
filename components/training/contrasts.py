"""Which actions are contrasted. Takes annotated preferences and judged groups; gives encoded contrasts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from components.schema.curated import ActionPreference
from components.schema.group import Group
from components.schema.problem import Problem
from components.schema.trajectory import ANSWER, Action, Transition
from components.training.advantage import decision_values
from components.training.material import Encoder
from components.training.preference import Contrast
from components.training.settings import ReinforceSettings


def annotated_contrasts(
    preferences: Sequence[ActionPreference], problems: Mapping[str, Problem], encoder: Encoder
) -> list[Contrast]:
    """People's preferences on known problems; the confidence is the annotators' own."""
    return [
        _contrast(p.steps, p.chosen, p.rejected, problems[p.problem_id], encoder, confidence=p.confidence)
        for p in preferences
        if p.problem_id in problems
    ]


def judged_contrasts(groups: Sequence[Group], encoder: Encoder, settings: ReinforceSettings) -> list[Contrast]:
    """At each root, the best action against every one that is worse by `preference_margin` or more.

    The confidence is sigma(margin / tau): the probability by which softmax(Q / tau) prefers the better of the two.
    """
    return [contrast for group in groups for contrast in _of_group(group, encoder, settings)]


def _of_group(group: Group, encoder: Encoder, settings: ReinforceSettings) -> list[Contrast]:
    values = decision_values(group)
    firsts: dict[str, Action] = {}
    for trajectory in group.trajectories:
        firsts.setdefault(trajectory.forced[0], trajectory.transitions[0].action)
    best = max(values, key=lambda decision: values[decision])
    contrasts = []
    for worse, value in values.items():
        margin = values[best] - value
        written = firsts[best].message.token_ids and firsts[worse].message.token_ids
        if margin >= settings.preference_margin and written:
            confidence = 1.0 / (1.0 + math.exp(-margin / settings.decision_temperature))
            contrasts.append(_contrast((), firsts[best], firsts[worse], group.problem, encoder, confidence=confidence))
    return contrasts


def _contrast(
    before: Sequence[Transition],
    chosen: Action,
    rejected: Action,
    problem: Problem,
    encoder: Encoder,
    *,
    confidence: float,
) -> Contrast:
    """Whole actions; of answers only the decision, unless both answer: the text of one would be learnt by heart."""
    whole = chosen.decision == rejected.decision == ANSWER
    return Contrast(
        chosen=encoder.action(before, chosen, problem, whole=whole),
        rejected=encoder.action(before, rejected, problem, whole=whole),
        confidence=confidence,
    )
