"""mu(s), the DDPG-like form: the LM acts, twin critics judge, and the LM follows the critics.

Takes groups as episodes; the critics learn Q(s, a) from TD(lambda) targets with the lesser of the target twins at the
next state (clipped double Q, Fujimoto et al. 2018), on features of the LM that they do not change. The LM then follows
Q, not the returns: each decision its Q among all decisions at the state (all actions), each sampled argument the
advantage of its whole turn, which multiplies the log-probabilities of its tokens (ArCHer, Zhou et al. 2024, eq. 3).
No gradient goes through text, and the critics are not needed to act. Left out: decisions after the first one, where
one action was recorded and nothing is there to compare it with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from components.policy.model_type import CausalLM
from components.training.advantage import LEAST_ADVANTAGE, leave_one_out
from components.training.critic import Critic, read_features
from components.training.episodes import Episode, first_rows, mean_by_decision, positions_by_decision
from components.training.examples import Example
from components.training.inputs import Material, Vocabulary
from components.training.policy_gradient import arguments_backward, decisions_backward
from components.training.settings import ReinforceSettings
from components.training.step_metrics import decision_metrics


class ActorCritic:
    """Twin critics, and the gradient of an actor that follows them."""

    def __init__(self, features: int, settings: ReinforceSettings, vocabulary: Vocabulary, *, seed: int) -> None:
        """`features`: size of the LM's hidden states."""
        self._settings, self._vocabulary = settings, vocabulary
        self.critic = Critic(features, settings.critic, twins=True, seed=seed)

    def backward(self, model: CausalLM, material: Material, *, judging: bool) -> dict[str, float]:
        """The critics' updates on this step's episodes, then the actor's gradient."""
        values, metrics = self._judge(model, material.episodes)
        if judging:
            contexts = [group[0].states[0] for group in material.episodes]
            decided = [mean_by_decision(g, v) for g, v in zip(material.episodes, values, strict=True)]
            found = decisions_backward(model, contexts, decided, self._settings, self._vocabulary)
            metrics |= {"loss/decision": found.loss, **decision_metrics(material.groups, found.probs)}
        examples = [e for g, v in zip(material.episodes, values, strict=True) for e in arguments_with_advantages(g, v)]
        metrics["loss/argument"] = arguments_backward(model, examples, self._settings, self._vocabulary)
        return metrics

    def _judge(
        self, model: CausalLM, groups: Sequence[Sequence[Episode]]
    ) -> tuple[list[list[float]], dict[str, float]]:
        """Q of the first turn of every episode, group by group, after the critics have learnt from them."""
        episodes = [episode for group in groups for episode in group]
        actions = [action for episode in episodes for action in episode.actions()]
        features = read_features(model, actions, tokens_per_pass=self._settings.tokens_per_pass)
        loss = self.critic.fit(features, [episode.rewards for episode in episodes])
        values = self.critic.values(features).tolist()
        firsts = iter([values[row] for row in first_rows(episodes)])
        return [[next(firsts) for _ in group] for group in groups], {"loss/critic": loss}

    def tensors(self) -> dict[str, Tensor]:
        """The critics, their targets and their optimiser."""
        return self.critic.tensors()

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from `tensors()`."""
        self.critic.load(tensors)

    def export(self, folder: Path) -> None:
        """Nothing: the actor acts alone."""


def arguments_with_advantages(group: Sequence[Episode], values: Sequence[float]) -> list[Example]:
    """Sampled siblings, weighted by A = Q(s, a) - mean Q of the others from the same state and decision.

    With exact critics, Q(s, a) = reward, these are the examples of the policy gradient.
    """
    examples = []
    for members in positions_by_decision(group).values():
        for position, advantage in zip(members, leave_one_out([values[i] for i in members]), strict=True):
            example = group[position].arguments
            if abs(advantage) >= LEAST_ADVANTAGE and example.arguments:
                examples.append(replace(example, weight=advantage))
    return examples
