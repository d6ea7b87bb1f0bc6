"""Preference contrast: of two actions at one state, the better one gains on the worse (DESIGN 1, row 6).

Takes pairs with a confidence and the frozen clone's log-probabilities; accumulates the gradient of step DPO (Rafailov
et al. 2023) with conservative label smoothing (cDPO, Mitchell 2023): a pair that annotators or values hardly tell apart
pulls hardly. An action's log-probability is that of its decision plus the mean over its argument tokens (or, where both
actions answer, its answer tokens): averaged, so that length is no reason, and apart, so that thirty arguments do not
drown one decision. What both actions share cancels. Left out: a margin inside the sigmoid; the confidence carries it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from components.policy.decision import log_none
from components.policy.model_type import CausalLM
from components.policy.prefix_tree import passes
from components.training.examples import Example
from components.training.forward import hidden_states
from components.training.losses import logits_before, without_calls
from components.training.settings import ReinforceSettings

KEEP_CHOSEN = 0.05
"""Weight of -log p of the preferred action: DPO alone is content when both actions become less likely, the worse one
faster."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """Two actions at one state."""

    chosen: Example
    """The state's tokens with the better action's; only that action is marked."""
    rejected: Example
    confidence: float
    """Probability, 0.5 to 1, that `chosen` is better."""


@dataclass(frozen=True, slots=True)
class ActionPair:
    """A contrast, and how the frozen clone sees it."""

    contrast: Contrast
    clone_margin: float
    """log p(chosen) - log p(rejected) under the clone"""


def action_log_probs(model: CausalLM, examples: Sequence[Example], *, call_token: int) -> Tensor:
    """log p of the decision plus the mean log p of the other tokens marked, of each example; differentiable. [N]"""
    hidden = hidden_states(model, [e.ids for e in examples])
    calls = [(row, p) for row, e in enumerate(examples) for start, stop in e.calls for p in range(start, stop)]
    stays = [(row, p) for row, e in enumerate(examples) for p in e.stays]
    others = [(row, p) for row, e in enumerate(examples) for p in (*e.arguments, *e.answers)]
    places = calls + stays + others
    logits = logits_before(model, hidden, places)
    firsts = {(row, p) for row, e in enumerate(examples) for p in e.firsts}
    logits, call_probability = without_calls(logits, places, firsts, call_token, stays, len(calls))
    targets = torch.tensor([examples[row].ids[p] for row, p in places], device=logits.device)
    logprobs = logits.log_softmax(-1).gather(1, targets[:, None]).squeeze(1)
    counts = torch.tensor([max(1, len(e.arguments) + len(e.answers)) for e in examples], device=logits.device)
    call, _, other = logprobs.split([len(calls), len(stays), len(others)])
    rows = torch.tensor([row for row, _ in places], device=logits.device)
    parts = torch.cat([call, log_none(call_probability), other / counts[rows[len(calls) + len(stays) :]]])
    return torch.zeros(len(examples), device=logits.device).index_add(0, rows, parts)


@torch.no_grad()
def with_clone(
    clone: CausalLM, contrasts: Sequence[Contrast], *, call_token: int, tokens_per_pass: int
) -> tuple[ActionPair, ...]:
    """The contrasts as `clone`, the frozen reference, sees them; computed once."""
    margins = [0.0] * len(contrasts)
    for members in _passes(contrasts, tokens_per_pass):
        chosen, rejected = _both(clone, [contrasts[i] for i in members], call_token)
        for i, margin in zip(members, (chosen - rejected).tolist(), strict=True):
            margins[i] = margin
    return tuple(ActionPair(contrast, margin) for contrast, margin in zip(contrasts, margins, strict=True))


def dpo_losses(margins: Tensor, clone_margins: Tensor, confidences: Tensor, *, beta: float) -> Tensor:
    """-(1 - eps) log sigma(z) - eps log sigma(-z), z = beta (margin - clone's margin), eps = 1 - confidence. [N]"""
    z = beta * (margins - clone_margins)
    return -confidences * F.logsigmoid(z) - (1.0 - confidences) * F.logsigmoid(-z)


def preferences_backward(
    model: CausalLM, pairs: Sequence[ActionPair], settings: ReinforceSettings, *, call_token: int
) -> dict[str, float]:
    """Accumulate the gradient of the contrast; gives its loss, and the share of pairs that the model gets right."""
    loss_sum, right = 0.0, 0
    contrasts = [pair.contrast for pair in pairs]
    for members in _passes(contrasts, settings.tokens_per_pass):
        mine = [pairs[i] for i in members]
        chosen, rejected = _both(model, [pair.contrast for pair in mine], call_token)
        clone = torch.tensor([pair.clone_margin for pair in mine], device=chosen.device)
        sure = torch.tensor([pair.contrast.confidence for pair in mine], device=chosen.device)
        losses = dpo_losses(chosen - rejected, clone, sure, beta=settings.preference_beta)
        kept = KEEP_CHOSEN * (2.0 * sure - 1.0) * -chosen
        (settings.preference_weight * (losses + kept).sum() / len(pairs)).backward()
        loss_sum += float(losses.detach().sum())
        right += int((chosen > rejected).sum())
    return {"loss/preference": loss_sum / len(pairs), "preference/accuracy": right / len(pairs)}


def _both(model: CausalLM, contrasts: Sequence[Contrast], call_token: int) -> tuple[Tensor, Tensor]:
    """log p of the chosen and of the rejected actions; [N] each"""
    examples = [c.chosen for c in contrasts] + [c.rejected for c in contrasts]
    chosen, rejected = action_log_probs(model, examples, call_token=call_token).split(len(contrasts))
    return chosen, rejected


def _passes(contrasts: Sequence[Contrast], limit: int) -> list[list[int]]:
    """Pairs by pass: the two actions of a pair share their state, so little more than one of them is computed."""
    return passes([contrast.chosen.ids for contrast in contrasts], limit=limit)
