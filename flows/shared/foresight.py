"""What trees that were searched tell about those to come: value heads, and when a state is a dead end.

Takes an actor and the trees that it searched; gives `Foresight`. Computes nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from components.policy.heads import ValueHeads
from components.policy.policy import Policy
from components.policy.propose import make_propose
from components.search.lessons import lessons, threshold
from components.search.settings import SelfplaySettings
from components.search.tree import Tree
from components.tools.spec import ToolSpec
from components.training.settings import CriticSettings
from components.training.tree_values import fit_tree_values
from flows.shared.acting import Actor

FEATURES_AT_ONCE = 256
"""States read in one batch."""


@dataclass(frozen=True, slots=True)
class Foresight:
    """What trees taught."""

    heads: ValueHeads
    threshold: float
    """p-hat below which a state is a dead end."""


def learn_from_trees(
    actor: Actor,
    trees: Sequence[Tree],
    settings: SelfplaySettings,
    critic: CriticSettings,
    *,
    also: Sequence[ToolSpec] = (),
) -> Foresight | None:
    """Heads fitted to what was found in the trees; None where the policy shows no hidden states."""
    if not isinstance(actor.policy, Policy):
        return None
    proposer = make_propose(actor.policy, [*actor.toolbox.specs(), *also], settings)
    learnt = lessons(trees, actor.prices.units)
    features = [
        proposer.features(actor.policy, [lesson.state for lesson in learnt[first : first + FEATURES_AT_ONCE]])
        for first in range(0, len(learnt), FEATURES_AT_ONCE)
    ]
    fitted = fit_tree_values(
        torch.cat(features),
        [lesson.state.problem.problem_id for lesson in learnt],
        [lesson.solved for lesson in learnt],
        [lesson.cost_to_go for lesson in learnt],
        critic,
        seed=settings.seed,
    )
    return Foresight(fitted.heads, threshold(learnt, fitted.chances, min_visits=settings.min_visits))
