"""A trust region for decisions: an update that turns too many of them over at once is shortened.

Takes a model with its optimiser and the contexts of a step's roots; takes the step. Adam's steps have a fixed length,
whatever the gradient's, and a decision is one token: a single update of the shared weights can move every root from
"call" to "answer", and the reward's signal is gone with it. The measure is TRPO's, the mean KL(before || after)
(Schulman et al. 2015, eq. 12); the remedy its line search, with the step of Adam in place of the natural gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from components.policy.model_type import CausalLM
from components.policy.prefix_tree import passes
from components.training.inputs import Vocabulary
from components.training.losses import decision_log_probs
from components.training.optimiser import MasterAdamW
from components.training.settings import ReinforceSettings

HALVINGS = 5
"""Most times that a step is halved; one that is still too long then is not taken."""


def trusted_step(
    model: CausalLM,
    optimiser: MasterAdamW,
    contexts: Sequence[tuple[int, ...]],
    settings: ReinforceSettings,
    vocabulary: Vocabulary,
) -> dict[str, float]:
    """One update; while the decisions at the contexts drift by more than `decision_trust` nats, half of it, or none.

    Gives the gradient's norm, the drift that is left and the share of the update that was taken.
    """
    if settings.decision_trust is None or not contexts:
        return {"optim/grad_norm": optimiser.step()}
    before = _decisions(model, contexts, settings, vocabulary)
    norm, share = optimiser.step(revocable=True), 1.0
    drift = _drift(before, _decisions(model, contexts, settings, vocabulary))
    while drift > settings.decision_trust and share:
        shorter = share / 2 if share > 0.5**HALVINGS else 0.0
        optimiser.shorten(shorter / share)
        share, drift = shorter, _drift(before, _decisions(model, contexts, settings, vocabulary))
    return {"optim/grad_norm": norm, "optim/decision_drift": drift, "optim/step_share": share}


@torch.no_grad()
def _decisions(
    model: CausalLM, contexts: Sequence[tuple[int, ...]], settings: ReinforceSettings, vocabulary: Vocabulary
) -> list[Tensor]:
    """log P over decisions at each context, pass by pass."""
    names = list(vocabulary.names.values())
    return [
        decision_log_probs(model, [contexts[i] for i in members], vocabulary.opening, names)
        for members in passes(contexts, limit=settings.tokens_per_pass)
    ]


def _drift(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """Mean of KL(before || after) over contexts, in nats."""
    old, new = torch.cat(list(before)), torch.cat(list(after))
    return float((old.exp() * (old - new)).sum(1).mean())
