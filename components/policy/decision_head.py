"""Decisions at roots by weights of their own: a linear head that foresees what each decision is worth there.

Takes the final hidden state at the end of a root's context; gives P over decisions, softmax(V / tau). A root is a state
where nothing was called yet: what to do with a result, the language model's own weights go on deciding, and so they do
where a tool is on offer that the head was never judged on, and where a server runs the model, which shows no states.
Kept as safetensors beside the model. Trains nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from components.records.manifest import BadModelFolder, check_safetensors

DECISIONS = "decisions.safetensors"
"""File of the head beside the model's weights."""


@dataclass(frozen=True, slots=True)
class DecisionHead:
    """What decisions are worth."""

    names: tuple[str, ...]
    """Decisions that it knows, in the order of the rows."""
    weight: Tensor
    """[decisions, hidden] fp32"""
    bias: Tensor
    """[decisions] fp32"""
    temperature: float
    """tau, in units of the reward."""

    def values(self, features: Tensor) -> Tensor:
        """[N, hidden] final hidden states at roots -> foreseen reward [N, decisions]"""
        values: Tensor = features.float() @ self.weight.T + self.bias
        return values

    def probs(self, feature: Tensor, own: Mapping[str, float]) -> dict[str, float]:
        """P over the decisions of `own`, which is what the language model itself gives them, at a root with this
        feature [hidden]; `own` itself where the head does not know all of them."""
        if not set(own) <= set(self.names):
            return dict(own)
        value = dict(zip(self.names, self.values(feature[None])[0].tolist(), strict=True))
        shares = torch.tensor([value[name] / self.temperature for name in own]).softmax(0)
        return dict(zip(own, shares.tolist(), strict=True))


def write_decisions(folder: Path, head: DecisionHead) -> None:
    """Put the head beside the model; the manifest is written afterwards."""
    told = {"names": json.dumps(head.names), "temperature": repr(head.temperature)}
    save_file({"weight": head.weight.contiguous(), "bias": head.bias}, str(folder / DECISIONS), metadata=told)


def read_decisions(folder: Path, *, features: int) -> DecisionHead | None:
    """The head beside the model; None when it has none.

    Raises:
        BadModelFolder: it reads other features than the model has.
    """
    path = folder / DECISIONS
    if not path.is_file():
        return None
    check_safetensors(path)
    with safe_open(str(path), framework="pt") as file:
        weight, bias, told = file.get_tensor("weight"), file.get_tensor("bias"), dict(file.metadata() or {})
    if weight.shape[1] != features:
        raise BadModelFolder(
            f"{path} reads {weight.shape[1]} features where the model has {features}: it belongs to another one"
        )
    return DecisionHead(tuple(json.loads(told["names"])), weight, bias, float(told["temperature"]))
