"""Q(s, a), nearer to a reward model: a bounded head on the LM scores candidate actions; acting is its argmax.

Takes groups as episodes: the candidates at a state are its decisions with their greedy arguments, or sampled arguments
of one decision. The head learns TD(lambda) targets by a Huber loss and a conservative term (CQL(H), Kumar et al. 2020)
that lowers actions which were not tried: turns borrowed from other problems. With `trunk_weight` the same loss goes on
into the LM, whose features then learn, too; its own decisions and arguments are not taught.
Simplified: at a later state the one recorded action stands for the maximum over candidates. After the rollout's greedy
policy it is that policy's best; `trace` near 1 leaves little weight on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from components.policy.heads import write_q
from components.policy.model_type import CausalLM
from components.training.critic import Critic, features_backward, read_features
from components.training.episodes import Episode, first_rows
from components.training.inputs import Material
from components.training.settings import ReinforceSettings


@dataclass(frozen=True, slots=True)
class Candidates:
    """Rows of features by state: which actions were tried there, and which were not."""

    tried: tuple[int, ...]
    untried: tuple[int, ...]


class QLearning:
    """A Q head with its target; perhaps learnt together with the features that it reads."""

    def __init__(self, features: int, settings: ReinforceSettings, *, seed: int) -> None:
        """`features`: size of the LM's hidden states."""
        self._settings = settings
        self.critic = Critic(features, settings.critic, twins=False, seed=seed)

    def backward(self, model: CausalLM, material: Material, *, judging: bool) -> dict[str, float]:
        """The head's updates on this step's candidates, then its loss's gradient on the model, if that learns, too."""
        episodes = [episode for group in material.episodes for episode in group]
        actions = [action for episode in episodes for action in episode.actions()]
        others = borrowed(material.episodes)
        sequences = [*actions, *(action for action in others if action is not None)]
        states = candidates(material.episodes, others, first=len(actions))
        limit = self._settings.tokens_per_pass
        features = read_features(model, sequences, tokens_per_pass=limit)
        metrics = self.learn(features, [episode.rewards for episode in episodes], states)
        if self._settings.critic.trunk_weight:
            gradient = self._by_features(features, [episode.rewards for episode in episodes], states)
            features_backward(model, sequences, self._settings.critic.trunk_weight * gradient, tokens_per_pass=limit)
        return metrics

    def learn(
        self, features: Tensor, chains: Sequence[Sequence[float]], states: Sequence[Candidates]
    ) -> dict[str, float]:
        """`settings.critic.updates` updates of the head; `features` [N, hidden] hold the episodes' turns, then the
        borrowed ones."""
        turns = sum(map(len, chains))
        loss = self.critic.fit(features[:turns], chains, extra=lambda head: self._conservative(head(features), states))
        values = self.critic.values(features)
        return {"loss/critic": loss, "loss/conservative": float(conservative(values, states))}

    def _conservative(self, values: Tensor, states: Sequence[Candidates]) -> Tensor:
        return self._settings.critic.conservative * conservative(values, states)

    def _by_features(self, features: Tensor, chains: Sequence[Sequence[float]], states: Sequence[Candidates]) -> Tensor:
        """Gradient of the loss by the features [N, hidden]; the head itself stays as it is."""
        turns = sum(map(len, chains))
        leaf = features.clone().requires_grad_()
        loss = self.critic.regression(leaf[:turns], self.critic.returns(features[:turns], chains))
        for head in self.critic.heads:
            loss = loss + self._conservative(head(leaf), states)
        (gradient,) = torch.autograd.grad(loss, [leaf])
        return gradient

    def tensors(self) -> dict[str, Tensor]:
        """The head, its target and its optimiser."""
        return self.critic.tensors()

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from `tensors()`."""
        self.critic.load(tensors)

    def export(self, folder: Path) -> None:
        """The head, for acting by argmax."""
        write_q(folder, self.critic.head())


def conservative(values: Tensor, states: Sequence[Candidates]) -> Tensor:
    """CQL(H): mean over states of log sum exp Q over all candidates, less the mean Q of those that were tried."""
    terms = [values[[*state.tried, *state.untried]].logsumexp(0) - values[list(state.tried)].mean() for state in states]
    return torch.stack(terms).mean()


def borrowed(groups: Sequence[Sequence[Episode]]) -> list[tuple[int, ...] | None]:
    """For each group, the first turn of another group at this state: an action that nobody tried here.

    None where the other group did just what was done here, or there is no other group.
    """
    others: list[tuple[int, ...] | None] = []
    for number, group in enumerate(groups):
        other = groups[(number + 1) % len(groups)]
        turn = other[number % len(other)].turns[0]
        known = any(turn == episode.turns[0] for episode in group)
        others.append(None if known else (*group[0].states[0], *turn))
    return others


def candidates(
    groups: Sequence[Sequence[Episode]], others: Sequence[tuple[int, ...] | None], *, first: int
) -> list[Candidates]:
    """The rows of each group's candidates: first turns of its episodes, and the borrowed action (rows from `first`)."""
    starts = iter(first_rows([episode for group in groups for episode in group]))
    places = iter(range(first, first + len(others)))
    return [
        Candidates(tuple(next(starts) for _ in group), (next(places),) if other is not None else ())
        for group, other in zip(groups, others, strict=True)
    ]
