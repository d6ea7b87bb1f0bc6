"""Imitation steps: the one loop behind cloning and distillation. Takes a model and a source of examples; trains it.

Knows nothing of annotations or search: it is given, for every step, the examples of that step, so that a killed run
continues with exactly the batches it would have seen. Several processes may do it together (see `training.team`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from components.policy.model_type import CausalLM
from components.policy.prefix_tree import passes
from components.training.adapters import close_training, open_training
from components.training.examples import Example
from components.training.losses import denominators, imitation_losses
from components.training.optimiser import MasterAdamW
from components.training.settings import TrainerSettings
from components.training.sharding import sharded
from components.training.team import ALONE, Team

Report = Callable[[int, Mapping[str, float]], None]
LOSSES = ("loss/decision", "loss/argument", "loss/answer")


def imitate(
    model: CausalLM,
    batch_of: Callable[[int], Sequence[Example]],
    settings: TrainerSettings,
    *,
    call_token: int,
    seed: int = 0,
    checkpoint: Path | None = None,
    report: Report = lambda step, metrics: None,
    team: Team = ALONE,
) -> None:
    """`settings.steps` steps on `batch_of(step)`; continues from `checkpoint` and writes it as it goes.

    `seed`: of the first weights of adapters, if the settings want any; they are merged in the end. `team`: every
    process calls this with the same arguments and ends with the same weights; the one that leads reports and writes.
    """
    open_training(model, settings, seed=seed)
    with sharded(model, team):
        _steps(model, batch_of, settings, call_token=call_token, checkpoint=checkpoint, report=report, team=team)
    close_training(model)


def _steps(
    model: CausalLM,
    batch_of: Callable[[int], Sequence[Example]],
    settings: TrainerSettings,
    *,
    call_token: int,
    checkpoint: Path | None,
    report: Report,
    team: Team,
) -> None:
    optimiser = MasterAdamW(
        model,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        total_steps=settings.steps,
        max_grad_norm=settings.max_grad_norm,
        team=team,
    )
    if checkpoint is not None:
        optimiser.load(checkpoint)
        team.meet()  # nobody replaces it before all have read it
    model.train()
    while optimiser.step_count < settings.steps:
        step = optimiser.step_count
        metrics = backward_imitation(model, batch_of(step), settings, call_token=call_token, team=team)
        metrics["optim/learning_rate"] = optimiser.learning_rate()
        metrics["optim/grad_norm"] = optimiser.step()
        if team.leads:
            report(optimiser.step_count, metrics)
        if checkpoint is not None and optimiser.step_count % settings.checkpoint_every == 0:
            optimiser.save(checkpoint, {})


def backward_imitation(
    model: CausalLM,
    examples: Sequence[Example],
    settings: TrainerSettings,
    *,
    call_token: int,
    team: Team = ALONE,
) -> dict[str, float]:
    """Accumulate the gradient of the weighted losses over this process's share of the step; the losses of the whole
    step come back by name."""
    counts, mine = denominators(examples), team.share(examples)
    sums = torch.zeros(len(LOSSES), dtype=torch.float64)
    device = next(model.parameters()).device
    for part in _parts(examples, mine, settings.tokens_per_pass, team, device):
        losses = imitation_losses(model, part, counts, call_token=call_token)
        total = (
            settings.decision_weight * losses.decision
            + settings.argument_weight * losses.argument
            + settings.answer_weight * losses.answer
        )
        total.backward()
        sums += torch.stack([losses.decision, losses.argument, losses.answer]).detach().cpu()
    sums = sums.to(device)
    team.add_up([sums])
    return dict(zip(LOSSES, sums.tolist(), strict=True))


def _parts(
    examples: Sequence[Example], mine: Sequence[Example], limit: int, team: Team, device: torch.device
) -> Iterator[Sequence[Example]]:
    """What is computed together. Processes that fetch each other's weights make equally many passes: those that have
    fewer read a token without a target, whose gradient is zero."""
    groups = passes([example.ids for example in mine], limit=limit)
    for group in groups:
        yield [mine[number] for number in group]
    if team.sharded:
        for _ in range(team.most(len(groups), device) - len(groups)):
            yield [Example(ids=examples[0].ids[:1])]
