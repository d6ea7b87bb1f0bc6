"""Decisions at roots by weights of their own: a linear head that foresees what each decision is worth there.

Takes final hidden states; gives P over decisions, softmax(V / tau). A root is a state where nothing was called yet:
what to do with a result, the language model's own weights go on deciding, and so they do where a tool is on offer that
the head was never judged on, and where a server runs the model, which shows no states. Kept as safetensors beside the
model. Trains nothing.

A head reads the end of the root's context, or the answer that the model writes there first, its draft. Whether an
answer is right shows far better in its own words than in the question (compare P(IK) with P(True) of Kadavath et al.
2022): on 938 facts, in groups that were left out, a ridge regression tells the right direct answers from the wrong ones
with an AUC of .73 by the root's state and .84 by the draft's. It shows best some blocks below the last, which turn to
the next token (compare Azaria and Mitchell 2023): on 500 facts, of which a clone answers 34 %, .861 by the last of 30
blocks, .909, .915 and .909 by blocks 15, 18 and 22. A draft that is kept costs nothing, it is the answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
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
    """[decisions, features] fp32"""
    bias: Tensor
    """[decisions] fp32"""
    temperature: float
    """tau, in units of the reward."""
    drafts: bool = False
    """Whether it reads `draft_feature` of the answer that is written first; else the state at the end of the context,
    so that there are as many features as the model has."""
    layer: int | None = None
    """Block after which the states of drafts are read, the first is 1; None: the last, after the final norm."""

    def knows(self, own: Mapping[str, float]) -> bool:
        """Whether it can tell what all these decisions are worth."""
        return set(own) <= set(self.names)

    def values(self, features: Tensor) -> Tensor:
        """[N, features] at roots -> foreseen reward [N, decisions]"""
        values: Tensor = features.float() @ self.weight.T + self.bias
        return values

    def probs(self, feature: Tensor, own: Mapping[str, float]) -> dict[str, float]:
        """P over the decisions of `own`, which is what the language model itself gives them, at a root with this
        feature [features]; `own` itself where the head does not know all of them."""
        if not self.knows(own):
            return dict(own)
        value = dict(zip(self.names, self.values(feature[None])[0].tolist(), strict=True))
        shares = torch.tensor([value[name] / self.temperature for name in own]).softmax(0)
        return dict(zip(own, shares.tolist(), strict=True))


def draft_feature(states: Tensor) -> Tensor:
    """[tokens, hidden], the hidden states (all of one block) that the tokens of a draft were drawn from -> their mean
    and the last of them, [2 * hidden]"""
    return torch.cat([states.mean(0), states[-1]])


@dataclass(slots=True)
class Roots:
    """Who has the last word on decisions at roots."""

    features_of: Callable[[Tensor], Tensor]
    """From hidden states [..., hidden] as a session gives them to those that a head was fitted to."""
    head: DecisionHead | None = None
    """None leaves all decisions to the model's weights."""

    def wants_draft(self, own: Mapping[str, float]) -> bool:
        """Whether an answer is to be written before it is decided between these."""
        return self.head is not None and self.head.drafts and self.head.knows(own)

    def on_reading(self, hidden: Tensor, own: dict[str, float]) -> dict[str, float]:
        """P over decisions when a root's context was read: `hidden` [hidden] at its end, `own` by the weights."""
        if self.head is None or self.head.drafts:
            return own
        return self.head.probs(self.features_of(hidden), own)

    @property
    def layer(self) -> int | None:
        """Block after which `on_draft` wants the states; None: final ones, as a session gives them."""
        return None if self.head is None else self.head.layer

    def on_draft(self, states: Tensor, own: dict[str, float]) -> dict[str, float]:
        """P over decisions when the answer was drafted from `states` [tokens, hidden]."""
        if self.head is None:
            return own
        read = self.features_of(states) if self.head.layer is None else states.float().cpu()
        return self.head.probs(draft_feature(read), own)


def write_decisions(folder: Path, head: DecisionHead) -> None:
    """Put the head beside the model; the manifest is written afterwards."""
    told = {
        "names": json.dumps(head.names),
        "temperature": repr(head.temperature),
        "drafts": json.dumps(head.drafts),
        "layer": json.dumps(head.layer),
    }
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
    drafts = bool(json.loads(told.get("drafts", "false")))
    expected = 2 * features if drafts else features
    if weight.shape[1] != expected:
        raise BadModelFolder(
            f"{path} reads {weight.shape[1]} features where the model gives {expected}: it belongs to another one"
        )
    layer = json.loads(told.get("layer", "null"))
    return DecisionHead(tuple(json.loads(told["names"])), weight, bias, float(told["temperature"]), drafts, layer)
