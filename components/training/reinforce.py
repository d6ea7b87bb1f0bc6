"""Reinforcement learning of the composite: decisions and arguments by one of three forms, answers by gold.

Takes a model, scored groups and replayed demonstrations; trains in place. The gradient of the expected log-likelihood
of the reference splits in two (DESIGN 1, row 4): through the answer's tokens, which are differentiable, and through the
decision and its arguments, which are not and are learnt from rewards. Every batch also replays the clone, with a KL on
its answers: decision-only updates on shared weights wreck the answer turn (science.md 3b).
Left out: importance ratios and clipping (one update a batch, so the ratio is 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from components.policy.model_type import CausalLM
from components.policy.prefix_tree import passes
from components.schema.group import Group
from components.schema.trajectory import ANSWER
from components.training.adapters import close_training, open_training
from components.training.advantage import advantages, decision_values
from components.training.examples import Example
from components.training.forms import Form
from components.training.forward import hidden_states
from components.training.guards import Guards, Warn, check_scorer
from components.training.imitate import Report
from components.training.inputs import Material, Replay, Vocabulary
from components.training.losses import denominators, imitation_losses
from components.training.optimiser import MasterAdamW, read_also
from components.training.policy_gradient import PolicyGradient
from components.training.preference import preferences_backward
from components.training.settings import ReinforceSettings
from components.training.step_metrics import decision_metrics, family_counts, part_metrics
from components.training.trust import trusted_step


def clone_hidden(
    model: CausalLM, examples: Sequence[Example], wanted: Iterable[int], *, tokens_per_pass: int
) -> dict[int, Replay]:
    """The `wanted` examples with the clone's states; the head is frozen, so they give the clone's logits for ever."""
    indices = sorted(set(wanted))
    pool: dict[int, Replay] = {}
    with torch.no_grad():
        for group in passes([examples[i].ids for i in indices], limit=tokens_per_pass):
            states = hidden_states(model, [examples[indices[g]].ids for g in group])
            for row, g in enumerate(group):
                example = examples[indices[g]]
                pool[indices[g]] = Replay(example, states.at([(row, p - 1) for p in example.answers]))
    return pool


def reinforce(
    model: CausalLM,
    material_of: Callable[[int], Material],
    pool: Mapping[int, Replay],
    settings: ReinforceSettings,
    vocabulary: Vocabulary,
    *,
    form: Form | None = None,
    refresh: Callable[[tuple[int, ...]], None],
    seed: int = 0,
    checkpoint: Path | None = None,
    report: Report = lambda step, metrics: None,
    scorer: str = "",
    warn: Warn = lambda text: None,
) -> None:
    """`settings.steps` updates; `material_of(step)` rolls out under the present weights, which `refresh` makes visible.

    `form` says how rewards are learnt from; by default by policy gradient. `seed`: of the first weights of adapters, if
    the settings want any; they are merged in the end. `scorer`: digest of the frozen model behind the rewards; `warn`
    is told alarms.

    Raises:
        TrainingStopped: a guard ended the run (see `training.guards`), or the checkpoint is of another scorer.
    """
    trained = open_training(model, settings, seed=seed)
    optimiser = MasterAdamW(
        model,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        total_steps=settings.steps,
        max_grad_norm=settings.max_grad_norm,
    )
    form, guards = form or PolicyGradient(settings, vocabulary), Guards(settings, warn)
    if checkpoint is not None and (state := optimiser.load(checkpoint)) is not None:
        check_scorer(state, scorer)
        form.load(read_also(checkpoint))
        guards.load(state.get("guards"))
        refresh(trained)
    while optimiser.step_count < settings.steps:
        material = material_of(optimiser.step_count)
        model.train()
        judging = optimiser.step_count >= settings.judge_from()
        metrics = group_metrics(material.groups)
        metrics |= backward(model, material, pool, settings, vocabulary, form=form, judging=judging)
        metrics["optim/learning_rate"] = optimiser.learning_rate()
        decided = [group.context_ids for group in material.groups] if judging else []
        metrics |= trusted_step(model, optimiser, decided, settings, vocabulary)
        metrics |= guards.alarms(optimiser.step_count, metrics)
        refresh(trained)
        report(optimiser.step_count, metrics)
        guards.check(optimiser.step_count, metrics, family_counts(material.groups))
        if checkpoint is not None and optimiser.step_count % settings.checkpoint_every == 0:
            optimiser.save(checkpoint, {"scorer": scorer, "guards": guards.state()}, form.tensors())
    close_training(model)


def backward(
    model: CausalLM,
    material: Material,
    pool: Mapping[int, Replay],
    settings: ReinforceSettings,
    vocabulary: Vocabulary,
    *,
    form: Form | None = None,
    judging: bool = True,
) -> dict[str, float]:
    """Accumulate the gradient of a step's losses, which come back by name. `judging`: decisions are learnt too."""
    call_token = vocabulary.opening[0]
    metrics = (form or PolicyGradient(settings, vocabulary)).backward(model, material, judging=judging)
    if material.pairs:
        metrics |= preferences_backward(model, material.pairs, settings, call_token=call_token)
    metrics["loss/reference"] = _answers(model, material.references, settings, call_token)
    metrics |= _replay(model, [pool[i] for i in material.replay], settings, call_token)
    return metrics


def _answers(model: CausalLM, examples: Sequence[Example], settings: ReinforceSettings, call_token: int) -> float:
    """Likelihood gradient: -log p(y* | s, a, r) on the reference's tokens."""
    counts, summed = denominators(examples), 0.0
    for members in passes([e.ids for e in examples], limit=settings.tokens_per_pass):
        loss = imitation_losses(model, [examples[i] for i in members], counts, call_token=call_token).answer
        (settings.reference_weight * loss).backward()
        summed += float(loss.detach())
    return summed


def _replay(
    model: CausalLM, replays: Sequence[Replay], settings: ReinforceSettings, call_token: int
) -> dict[str, float]:
    """Imitation of replayed parts plus KL(clone || policy) on their answers."""
    examples = [r.example for r in replays]
    counts, sums = denominators(examples), {"loss/replay": 0.0, "loss/kl": 0.0}
    for members in passes([e.ids for e in examples], limit=settings.tokens_per_pass):
        losses = imitation_losses(model, [examples[i] for i in members], counts, call_token=call_token)
        imitation = losses.decision + losses.argument
        kl = imitation * 0.0
        if losses.answer_logits is not None:
            states = torch.cat([replays[i].clone_hidden for i in members])
            kl = _kl(model, states, losses.answer_logits) / counts.answers
        (settings.replay_weight * imitation + settings.kl_weight * kl).backward()
        sums["loss/replay"] += float(imitation.detach())
        sums["loss/kl"] += float(kl.detach())
    return sums


def _kl(model: CausalLM, clone_states: Tensor, logits: Tensor) -> Tensor:
    """Sum over tokens of KL(clone || policy), over the whole vocabulary."""
    with torch.no_grad():
        known: Tensor = model.get_output_embeddings()(clone_states).float()
        clone = known.masked_fill(logits < -1e8, -1e9).log_softmax(-1)
    return (clone.exp() * (clone - logits.log_softmax(-1))).sum()


def group_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """Reward parts and rates over the groups of a step; a part that was not scored is left out and counted."""
    trajectories = [t for g in groups for t in g.trajectories]
    metrics = part_metrics(trajectories)
    metrics["reward/total"] = sum(r for g in groups for r in g.rewards) / max(1, len(trajectories))
    spread = [max(abs(a) for a in advantages(g)) > 1e-6 for g in groups]
    metrics["rollout/groups_with_signal"] = sum(spread) / max(1, len(groups))
    metrics |= decision_metrics(groups, [g.probs for g in groups])
    judged = [g for g in groups if any(t.forced[0] == ANSWER for t in g.trajectories)]
    if not judged:
        return metrics
    best = [max(v := decision_values(g), key=lambda d: v[d]) for g in judged]
    metrics["rollout/best_is_call"] = sum(d != ANSWER for d in best) / max(1, len(best))
    return metrics
