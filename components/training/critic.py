"""Critics: heads that learn what actions are worth. Takes features and rewards; gives values, targets and steps.

Each head has an optimiser and a slowly following target (Polyak averaging, Lillicrap et al. 2016). All of it is kept
as tensors, so that a checkpoint of safetensors holds it whole. Reads no text: `read_features` asks the LM for features.
Left out of TD3 (Fujimoto et al. 2018): noise on the target's action (text has no small neighbourhood) and a delayed
actor (the critics take several updates for each of the actor's anyway).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.policy.heads import QHead
from components.policy.model_type import CausalLM
from components.policy.prefix_tree import passes
from components.training.forward import hidden_states
from components.training.returns import returns_of
from components.training.settings import CriticSettings


def last_states(model: CausalLM, sequences: Sequence[Sequence[int]]) -> Tensor:
    """[N, hidden] fp32 at the last token of each sequence; differentiable"""
    states = hidden_states(model, sequences)
    return states.at([(number, len(ids) - 1) for number, ids in enumerate(sequences)]).float()


@torch.no_grad()
def read_features(model: CausalLM, sequences: Sequence[Sequence[int]], *, tokens_per_pass: int) -> Tensor:
    """`last_states` of any number of sequences, without a graph."""
    read = torch.empty(len(sequences), int(model.config.hidden_size))
    for members in passes(sequences, limit=tokens_per_pass):
        read[members] = last_states(model, [sequences[i] for i in members]).cpu()
    return read


def features_backward(
    model: CausalLM, sequences: Sequence[Sequence[int]], gradient: Tensor, *, tokens_per_pass: int
) -> None:
    """Send the gradient of a loss by the features, [N, hidden], on into the model.

    A loss that compares actions needs all features at once, memory allows a few sequences at once: so the features are
    computed again, pass by pass, with a graph (gradient cache, Gao et al. 2021).
    """
    for members in passes(sequences, limit=tokens_per_pass):
        states = last_states(model, [sequences[i] for i in members])
        torch.autograd.backward([states], [gradient[members].to(states.device)])


class Critic:
    """One or two Q heads with targets and an optimiser."""

    def __init__(self, features: int, settings: CriticSettings, *, twins: bool, seed: int) -> None:
        """`features`: size of the LM's hidden states."""
        count = 2 if twins else 1
        heads = [
            QHead(features, settings.hidden, low=settings.low, high=settings.high, seed=seed + i) for i in range(count)
        ]
        self.settings = settings
        self.heads = nn.ModuleList(heads)
        self.targets = copy.deepcopy(self.heads).requires_grad_(False)
        self._parameters = dict(self.heads.named_parameters())
        self._adam = torch.optim.AdamW(self._parameters.values(), lr=settings.learning_rate, weight_decay=0.0)
        self._updates = 0

    def head(self) -> QHead:
        """The first head: the only one where there are no twins."""
        return self.heads[0]  # type: ignore[return-value]

    def begin(self, head: QHead) -> None:
        """Start from `head`: heads and targets take its weights."""
        for module in (*self.heads, *self.targets):
            module.load_state_dict(head.state_dict())

    @torch.no_grad()
    def values(self, features: Tensor) -> Tensor:
        """Q [N]: the lesser of the twins"""
        return _least(self.heads, features)

    @torch.no_grad()
    def returns(self, features: Tensor, chains: Sequence[Sequence[float]]) -> Tensor:
        """TD(lambda) targets [N] of episodes whose turns lie one after another in `features` [N, hidden].

        What follows a turn is worth the least of the target twins at the next one (clipped double Q).
        """
        following = _least(self.targets, features).tolist()
        return torch.tensor(returns_of(chains, following, trace=self.settings.trace))

    def regression(self, features: Tensor, targets: Tensor) -> Tensor:
        """Huber loss of every head to the targets, which are clipped to the bounds of the heads."""
        bounded = targets.clamp(self.settings.low, self.settings.high)
        losses = [F.smooth_l1_loss(head(features), bounded, beta=0.5) for head in self.heads]
        return torch.stack(losses).sum()

    def fit(
        self,
        features: Tensor,
        chains: Sequence[Sequence[float]],
        *,
        updates: int | None = None,
        extra: Callable[[nn.Module], Tensor] | None = None,
    ) -> float:
        """`updates` (else `settings.updates`) updates on the episodes; gives the loss of the last one.

        `extra` adds a loss of each head.
        """
        loss = 0.0
        for _ in range(updates or self.settings.updates):
            total = self.regression(features, self.returns(features, chains))
            if extra is not None:
                total = total + torch.stack([extra(head) for head in self.heads]).sum()
            loss = self.update(total)
        return loss

    def update(self, loss: Tensor) -> float:
        """One step of the heads down `loss`, one of the targets towards the heads; the loss comes back."""
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
        self._updates += 1
        with torch.no_grad():
            for target, head in zip(self.targets.parameters(), self.heads.parameters(), strict=True):
                target.lerp_(head, self.settings.polyak)
        return float(loss.detach())

    def tensors(self) -> dict[str, Tensor]:
        """Everything a checkpoint needs."""
        kept = {"updates": torch.tensor(self._updates)}
        kept |= {f"target/{name}": p.detach() for name, p in self.targets.named_parameters()}
        for name, parameter in self._parameters.items():
            kept[f"head/{name}"] = parameter.detach()
            moments = self._adam.state[parameter] if self._updates else {}
            kept |= {f"{key}/{name}": moments[key] for key in ("exp_avg", "exp_avg_sq") if key in moments}
        return kept

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from `tensors()` of a checkpoint."""
        self._updates = int(tensors["updates"])
        for name, parameter in self.targets.named_parameters():
            parameter.copy_(tensors[f"target/{name}"])
        for name, parameter in self._parameters.items():
            parameter.copy_(tensors[f"head/{name}"])
            if self._updates:
                moments = {key: tensors[f"{key}/{name}"].clone() for key in ("exp_avg", "exp_avg_sq")}
                self._adam.state[parameter] = {"step": torch.tensor(float(self._updates)), **moments}


def _least(heads: nn.ModuleList, features: Tensor) -> Tensor:
    return torch.stack([head(features) for head in heads]).amin(0)
