"""The forms of learning from rewards, behind one switch. Takes settings; gives the form. Learns nothing itself.

Same records, same loop, same checkpoints: a form only says how decisions and arguments follow the rewards of a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from torch import Tensor

from components.policy.model_type import CausalLM
from components.training.actor_critic import ActorCritic
from components.training.inputs import Material, Vocabulary
from components.training.policy_gradient import PolicyGradient
from components.training.q_learning import QLearning
from components.training.settings import ReinforceSettings


class Form(Protocol):
    """How rewards become a gradient, and what of it is kept."""

    def backward(self, model: CausalLM, material: Material, *, judging: bool) -> dict[str, float]:
        """Accumulate the gradient on the model; losses come back by name. `judging`: decisions are learnt too.

        Critics of the form take their own steps here, before the model follows them.
        """

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must hold beside the model."""

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from the `tensors()` of a checkpoint."""

    def export(self, folder: Path) -> None:
        """Put what acting needs beside the trained model in `folder`."""


def make_form(model: CausalLM, settings: ReinforceSettings, vocabulary: Vocabulary, *, seed: int) -> Form:
    """The form that `settings.form` names, at its beginning."""
    if settings.form == "policy_gradient":
        return PolicyGradient(settings, vocabulary)
    features = int(model.config.hidden_size)
    if settings.form == "actor_critic":
        return ActorCritic(features, settings, vocabulary, seed=seed)
    return QLearning(features, settings, seed=seed)
