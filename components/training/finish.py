"""Heads for a model that is not trained any more. Takes the model and judged plays; gives value, Q and decision heads.

Heads read the model's features, so they are fitted to the weights that will be served. The model is not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from components.policy.decision_head import draft_feature
from components.policy.heads import QHead
from components.policy.model_type import CausalLM
from components.policy.prefix_tree import passes
from components.schema.cost import Cost
from components.schema.problem import Problem
from components.schema.trajectory import ANSWER, Trajectory
from components.training.critic import Critic, read_features
from components.training.decision_values import FittedDecisions, fit_decisions
from components.training.forward import block_states, hidden_states
from components.training.inputs import Vocabulary
from components.training.losses import decision_log_probs
from components.training.material import Encoder
from components.training.settings import CriticSettings
from components.training.values import Fitted, Play, fit_values

DEPTHS = (0.4, 0.5, 0.6, 0.75)
"""Shares of the blocks after which a draft may be read in place of the last: what is known shows best about here."""


def finish_values(
    model: CausalLM,
    trajectories: Sequence[Trajectory],
    problems: Mapping[str, Problem],
    encoder: Encoder,
    vocabulary: Vocabulary,
    settings: CriticSettings,
    *,
    units: Callable[[Cost], float],
    tokens_per_pass: int,
    seed: int,
) -> Fitted:
    """Value heads fitted to the judged trajectories; those without a verdict are left out.

    Raises:
        ValueError: no trajectory is left to learn from.
    """
    judged = [t for t in trajectories if t.outcome.success is not None and t.problem_id in problems]
    turns = [encoder.turns(t, problems[t.problem_id]) for t in judged]
    roots = [next(state for state, _ in one) for one in turns]
    weights = root_weights(model, judged, roots, vocabulary, tokens_per_pass=tokens_per_pass)
    plays = [
        Play(
            problem_id=trajectory.problem_id,
            states=tuple(state for state, _ in one),
            success=bool(trajectory.outcome.success),
            costs=tuple(units(transition.cost) for transition in trajectory.transitions),
            weight=weight,
        )
        for trajectory, one, weight in zip(judged, turns, weights, strict=True)
    ]
    states = [state for play in plays for state in play.states]
    features = read_features(model, states, tokens_per_pass=tokens_per_pass)
    return fit_values(features, plays, settings, seed=seed)


@torch.no_grad()
def root_weights(
    model: CausalLM,
    trajectories: Sequence[Trajectory],
    roots: Sequence[tuple[int, ...]],
    vocabulary: Vocabulary,
    *,
    tokens_per_pass: int,
) -> list[float]:
    """P under the model of the decision that each trajectory was made to begin with; 1 where it chose itself."""
    order = (ANSWER, *vocabulary.names)
    weights = [1.0] * len(roots)
    for members in passes(roots, limit=tokens_per_pass):
        logprobs = decision_log_probs(
            model, [roots[i] for i in members], vocabulary.opening, list(vocabulary.names.values())
        )
        for i, row in zip(members, logprobs.exp().tolist(), strict=True):
            if trajectories[i].forced:
                weights[i] = row[order.index(trajectories[i].forced[0])]
    return weights


def refit_q(
    model: CausalLM,
    head: QHead,
    trajectories: Sequence[Trajectory],
    problems: Mapping[str, Problem],
    encoder: Encoder,
    settings: CriticSettings,
    *,
    tokens_per_pass: int,
) -> QHead:
    """A Q head learnt on features of other weights, fitted to those of `model` on the same scored trajectories.

    Trajectories that were not scored, or whose problem is not known, are left out; with none left the head stays.
    """
    scored = [t for t in trajectories if t.transitions[-1].reward is not None and t.problem_id in problems]
    episodes = [
        encoder.episode(t, problems[t.problem_id], sum(step.reward or 0.0 for step in t.transitions)) for t in scored
    ]
    if not episodes:
        return head
    critic = Critic(int(model.config.hidden_size), settings, twins=False, seed=0)
    critic.begin(head)
    actions = [action for episode in episodes for action in episode.actions()]
    features = read_features(model, actions, tokens_per_pass=tokens_per_pass)
    critic.fit(features, [episode.rewards for episode in episodes], updates=settings.fit_updates)
    return critic.head()


def finish_decisions(
    model: CausalLM,
    trajectories: Sequence[Trajectory],
    problems: Mapping[str, Problem],
    encoder: Encoder,
    *,
    temperature: float,
    drafts: bool = False,
    tokens_per_pass: int,
) -> FittedDecisions:
    """A decision head fitted to what every decision that was forced at a judged root earned.

    `drafts`: it reads the answers that were written where answering was forced, which are what the model would draft,
    after the block (of some, and the last) from which the values of groups that were left out are foreseen best.
    Trajectories that nobody forced, that were not scored, or whose problem is not known, are left out; for drafts the
    problems that were not answered, too.

    Raises:
        ValueError: no trajectory is left to learn from.
    """
    earned: dict[str, dict[str, float]] = {}
    answers: dict[str, tuple[int, ...]] = {}
    for one in trajectories:
        if one.forced and one.problem_id in problems and one.transitions[-1].reward is not None:
            total = sum(step.reward or 0.0 for step in one.transitions)
            earned.setdefault(one.problem_id, {})[one.forced[0]] = total
            if one.forced[0] == ANSWER:
                answers[one.problem_id] = one.transitions[0].action.message.token_ids or ()
    judged = [problems[name] for name in earned if answers.get(name) or not drafts]
    roots = [encoder.context(problem) for problem in judged]
    values, groups = [earned[problem.problem_id] for problem in judged], [problem.group for problem in judged]
    if not drafts:
        features = read_features(model, roots, tokens_per_pass=tokens_per_pass)
        return fit_decisions(features, values, groups, temperature=temperature)
    written, layers = [answers[problem.problem_id] for problem in judged], layers_of(model)
    read = read_drafts(model, roots, written, layers, tokens_per_pass=tokens_per_pass)
    fitted = [
        fit_decisions(features, values, groups, temperature=temperature, drafts=True, layer=layer)
        for layer, features in zip(layers, read, strict=True)
    ]
    return min(fitted, key=lambda one: one.error)


def layers_of(model: CausalLM) -> tuple[int | None, ...]:
    """The blocks after which drafts are read for comparison; None is the last, after the final norm."""
    blocks = int(model.config.num_hidden_layers)
    middle = {round(depth * blocks) for depth in DEPTHS}
    return None, *sorted(block for block in middle if 0 < block < blocks)


@torch.no_grad()
def read_drafts(
    model: CausalLM,
    contexts: Sequence[tuple[int, ...]],
    drafts: Sequence[tuple[int, ...]],
    layers: Sequence[int | None] = (None,),
    *,
    tokens_per_pass: int,
) -> Tensor:
    """`draft_feature` of each draft after its context, as read after each of `layers`. [layers, N, 2 * hidden] fp32"""
    read = torch.empty(len(layers), len(contexts), 2 * int(model.config.hidden_size))
    sequences = [context + draft[:-1] for context, draft in zip(contexts, drafts, strict=True)]
    middle = [layer for layer in layers if layer is not None]
    for members in passes(sequences, limit=tokens_per_pass):
        some = [sequences[i] for i in members]
        states = dict(zip(middle, block_states(model, some, middle), strict=True)) if middle else {}
        final = hidden_states(model, some) if None in layers else None
        for number, i in enumerate(members):
            places = [(number, position) for position in range(len(contexts[i]) - 1, len(sequences[i]))]
            for place, layer in enumerate(layers):
                of_layer = final if layer is None else states[layer]
                assert of_layer is not None
                read[place, i] = draft_feature(of_layer.at(places).float()).cpu()
    return read
