"""Policy gradient of decisions and arguments. Takes a model and a step's groups and siblings; accumulates gradients.

Decisions follow the values of all actions at once, arguments the advantages of sampled siblings. Takes no step of the
optimiser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from components.policy.model_type import CausalLM
from components.policy.prefix_tree import passes
from components.schema.trajectory import ANSWER
from components.training.advantage import at_stake, decision_target, decision_values
from components.training.examples import Example
from components.training.inputs import Material, Vocabulary
from components.training.losses import decision_log_probs, denominators, imitation_losses
from components.training.settings import ReinforceSettings
from components.training.step_metrics import decision_metrics

NORMAL_ARGUMENTS = 16.0
"""Constant denominator, in tokens a trajectory, of the policy gradient: no bias towards short or long queries."""


class PolicyGradient:
    """The returns of the step, as they came."""

    def __init__(self, settings: ReinforceSettings, vocabulary: Vocabulary) -> None:
        self._settings, self._vocabulary = settings, vocabulary

    def backward(self, model: CausalLM, material: Material, *, judging: bool) -> dict[str, float]:
        """The gradient of decisions, when they are judged, and of arguments."""
        metrics: dict[str, float] = {}
        if judging:
            contexts = [group.context_ids for group in material.groups]
            values = [decision_values(group, self._settings.normaliser) for group in material.groups]
            decided = decisions_backward(model, contexts, values, self._settings, self._vocabulary)
            metrics |= {"loss/decision": decided.loss, **decision_metrics(material.groups, decided.probs)}
        metrics["loss/argument"] = arguments_backward(model, material.arguments, self._settings, self._vocabulary)
        return metrics

    def tensors(self) -> dict[str, Tensor]:
        """Nothing: it remembers nothing."""
        return {}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Nothing to continue from."""

    def export(self, folder: Path) -> None:
        """Nothing: the model acts alone."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What the decisions of a step were like under the present weights."""

    loss: float
    probs: tuple[Mapping[str, float], ...]
    """P over decisions at each state."""


def decisions_backward(
    model: CausalLM,
    contexts: Sequence[tuple[int, ...]],
    values: Sequence[Mapping[str, float]],
    settings: ReinforceSettings,
    vocabulary: Vocabulary,
) -> Decided:
    """Cross-entropy of pi(d | state) to softmax(Q / tau), over all decisions at once, weighed by what is at stake.

    `values[i]`: Q of each decision that was tried at the state whose tokens are `contexts[i]`.
    """
    order, summed = (ANSWER, *vocabulary.names), 0.0
    probs: list[Mapping[str, float]] = [{}] * len(contexts)
    for members in passes(contexts, limit=settings.tokens_per_pass):
        logprobs = decision_log_probs(
            model, [contexts[i] for i in members], vocabulary.opening, list(vocabulary.names.values())
        )
        for i, row in zip(members, logprobs.detach().exp().tolist(), strict=True):
            probs[i] = dict(zip(order, row, strict=True))
        mine = [values[i] for i in members]
        targets = [decision_target(v, settings.decision_temperature, floor=settings.decision_floor) for v in mine]
        target = torch.tensor(
            [[at_stake(v) * t.get(d, 0.0) for d in order] for v, t in zip(mine, targets, strict=True)],
            device=logprobs.device,
        )
        loss = -(target * logprobs).sum() / len(contexts)
        if settings.decisions == "weights":
            (settings.decision_weight * loss).backward()
        summed += float(loss.detach())
    return Decided(summed, tuple(probs))


def arguments_backward(
    model: CausalLM, examples: Sequence[Example], settings: ReinforceSettings, vocabulary: Vocabulary
) -> float:
    """-A log pi over argument tokens (`weight` is A), averaged over the examples and divided by a constant."""
    scale = settings.argument_weight / max(1, len(examples)) / NORMAL_ARGUMENTS
    counts, summed = denominators([Example(ids=())]), 0.0
    for members in passes([e.ids for e in examples], limit=settings.tokens_per_pass):
        group = [examples[i] for i in members]
        loss = scale * imitation_losses(model, group, counts, call_token=vocabulary.opening[0]).argument
        loss.backward()
        summed += float(loss.detach())
    return summed
