"""Imitation steps: the one loop behind cloning and distillation. Takes a model and a source of examples; trains it.

Knows nothing of annotations or search: it is given, for every step, the examples of that step, so that a killed run
continues with exactly the batches it would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from components.policy.model_type import CausalLM
from components.policy.prefix_tree import passes
from components.training.adapters import close_training, open_training
from components.training.examples import Example
from components.training.losses import denominators, imitation_losses
from components.training.optimiser import MasterAdamW
from components.training.settings import TrainerSettings

Report = Callable[[int, Mapping[str, float]], None]


def imitate(
    model: CausalLM,
    batch_of: Callable[[int], Sequence[Example]],
    settings: TrainerSettings,
    *,
    call_token: int,
    seed: int = 0,
    checkpoint: Path | None = None,
    report: Report = lambda step, metrics: None,
) -> None:
    """`settings.steps` steps on `batch_of(step)`; continues from `checkpoint` and writes it as it goes.

    `seed`: of the first weights of adapters, if the settings want any; they are merged in the end.
    """
    open_training(model, settings, seed=seed)
    optimiser = MasterAdamW(
        model,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        total_steps=settings.steps,
        max_grad_norm=settings.max_grad_norm,
    )
    if checkpoint is not None:
        optimiser.load(checkpoint)
    model.train()
    while optimiser.step_count < settings.steps:
        step = optimiser.step_count
        metrics = backward_imitation(model, batch_of(step), settings, call_token=call_token)
        metrics["optim/learning_rate"] = optimiser.learning_rate()
        metrics["optim/grad_norm"] = optimiser.step()
        report(optimiser.step_count, metrics)
        if checkpoint is not None and optimiser.step_count % settings.checkpoint_every == 0:
            optimiser.save(checkpoint, {})
    close_training(model)


def backward_imitation(
    model: CausalLM, examples: Sequence[Example], settings: TrainerSettings, *, call_token: int
) -> dict[str, float]:
    """Accumulate the gradient of the weighted losses over the whole step; the losses come back by name."""
    counts = denominators(examples)
    sums = {"loss/decision": 0.0, "loss/argument": 0.0, "loss/answer": 0.0}
    for group in passes([e.ids for e in examples], limit=settings.tokens_per_pass):
        losses = imitation_losses(model, [examples[i] for i in group], counts, call_token=call_token)
        total = (
            settings.decision_weight * losses.decision
            + settings.argument_weight * losses.argument
            + settings.answer_weight * losses.answer
        )
        total.backward()
        for name, value in zip(sums, (losses.decision, losses.argument, losses.answer), strict=True):
            sums[name] += float(value.detach())
    return sums
