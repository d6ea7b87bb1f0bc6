"""Small heads on the LM's final hidden state: what a state is worth, and what an action at a state is worth.

Takes final hidden states; gives values. Kept as safetensors beside the model, where the manifest lists them like every
other file. Trains nothing and writes no text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from components.policy.policy import Policy
from components.records.manifest import BadModelFolder, check_safetensors

VALUES, Q = "values.safetensors", "q.safetensors"
"""Files of the heads beside the model's weights."""


class Head(nn.Module):
    """Layer norm, one hidden layer, one number. The last layer begins at zero, so that no state is preferred."""

    def __init__(self, features: int, hidden: int, *, seed: int = 0) -> None:
        super().__init__()
        drawn = torch.randn(hidden, features, generator=torch.Generator().manual_seed(seed))
        self.inner, self.outer = nn.Linear(features, hidden), nn.Linear(hidden, 1)
        with torch.no_grad():
            self.inner.weight.copy_(drawn / features**0.5)
            for zero in (self.inner.bias, self.outer.weight, self.outer.bias):
                zero.zero_()

    def forward(self, features: Tensor) -> Tensor:
        """[N, features] -> [N]"""
        normed = F.layer_norm(features.float(), features.shape[-1:])
        out: Tensor = self.outer(F.gelu(self.inner(normed)))
        return out.squeeze(-1)


class ValueHeads(nn.Module):
    """p-hat(s), the chance that the problem ends solved, and C-hat(s), the cost still to come."""

    def __init__(self, features: int, hidden: int, *, seed: int = 0) -> None:
        super().__init__()
        self.solved, self.cost = Head(features, hidden, seed=seed), Head(features, hidden, seed=seed + 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """[N, features] -> p-hat [N] in (0, 1) and C-hat [N] > 0, in units of the price sheet"""
        return torch.sigmoid(self.solved(features)), F.softplus(self.cost(features))


class QHead(nn.Module):
    """Q(s, a), bounded: low + (high - low) * sigmoid, because returns lie between known bounds."""

    def __init__(self, features: int, hidden: int, *, low: float, high: float, seed: int = 0) -> None:
        super().__init__()
        self.head, self.low, self.high = Head(features, hidden, seed=seed), low, high

    def forward(self, features: Tensor) -> Tensor:
        """[N, features] at the last token of (state, action) -> [N] in (low, high)"""
        return self.low + (self.high - self.low) * torch.sigmoid(self.head(features))


@dataclass(frozen=True, slots=True)
class StateValue:
    """What a state is worth, in two parts, so that the price of cost can move afterwards."""

    solved: float
    """p-hat in (0, 1)"""
    cost: float
    """C-hat, cost to go in units of the price sheet"""

    def net(self, price: float) -> float:
        """V = p-hat - lambda * C-hat"""
        return self.solved - price * self.cost


@torch.no_grad()
def score_states(policy: Policy, heads: ValueHeads, contexts: Sequence[tuple[int, ...]]) -> list[StateValue]:
    """The value of the state that each context shows, in order."""
    if not contexts:
        return []
    solved, cost = heads(policy.features(contexts))
    return [StateValue(p, c) for p, c in zip(solved.tolist(), cost.tolist(), strict=True)]


@torch.no_grad()
def score_actions(policy: Policy, head: QHead, actions: Sequence[tuple[int, ...]]) -> list[float]:
    """Q of each action, given as the tokens of its state followed by those of the turn."""
    if not actions:
        return []
    values: list[float] = head(policy.features(actions)).tolist()
    return values


def write_values(folder: Path, heads: ValueHeads) -> None:
    """Put the value heads beside the model; the manifest is written afterwards."""
    save_file(heads.state_dict(), str(folder / VALUES))


def write_q(folder: Path, head: QHead) -> None:
    """Put the Q head and its bounds beside the model; the manifest is written afterwards."""
    save_file(head.state_dict(), str(folder / Q), metadata={"low": repr(head.low), "high": repr(head.high)})


def read_values(folder: Path, *, features: int) -> ValueHeads | None:
    """The value heads beside the model; None when it has none."""
    found = _read(folder / VALUES, "solved.inner.weight", features=features)
    if found is None:
        return None
    tensors, _ = found
    heads = ValueHeads(features, len(tensors["solved.inner.weight"]))
    heads.load_state_dict(tensors)
    return heads


def has_q(folder: Path) -> bool:
    """Whether there is a Q head beside the model."""
    return (folder / Q).is_file()


def read_q(folder: Path, *, features: int) -> QHead | None:
    """The Q head beside the model; None when it has none."""
    found = _read(folder / Q, "head.inner.weight", features=features)
    if found is None:
        return None
    tensors, bounds = found
    head = QHead(features, len(tensors["head.inner.weight"]), low=float(bounds["low"]), high=float(bounds["high"]))
    head.load_state_dict(tensors)
    return head


def _read(path: Path, first: str, *, features: int) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Tensors and metadata of a file of heads; None when there is no such file."""
    if not path.is_file():
        return None
    check_safetensors(path)
    with safe_open(str(path), framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        metadata: dict[str, str] = dict(file.metadata() or {})
    width = tensors[first].shape[1] if first in tensors else None
    if width != features:
        raise BadModelFolder(f"{path} reads {width} features where the model has {features}: it belongs to another one")
    return tensors, metadata
