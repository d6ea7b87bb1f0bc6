"""A decision head fitted to judged roots: ridge regression of every decision's reward on the root's features.

Takes features and the values of all actions; gives the head and how it does on problems it did not see. Closed form,
so that nothing overshoots: updates of the shared weights move every root at once before they tell one from another (at
lambda 0.3 all decisions turned to "answer" within 24 steps), and damage the answers besides. How much is shrunk is
chosen for each decision by cross-validation over groups of problems. No gradient reaches the language model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from components.policy.decision_head import DecisionHead
from components.schema.identity import stable_hash
from components.schema.trajectory import ANSWER

FOLDS = 5
RIDGES = (30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5, 1e6)
"""Penalties that are tried, for standardised features."""


@dataclass(frozen=True, slots=True)
class FittedDecisions:
    """A head, and what it does to roots of groups that it was not fitted to."""

    head: DecisionHead
    metrics: dict[str, float]
    """`decisions/value`: mean reward of what it decides; `decisions/value_of_NAME`: of always deciding so;
    `decisions/value_of_best`: of the best decision everywhere; `decisions/call_rate`."""
    error: float
    """Mean squared error of what is foreseen for decisions at roots of groups that it was not fitted to."""


def fit_decisions(
    features: Tensor,
    values: Sequence[Mapping[str, float]],
    groups: Sequence[str],
    *,
    temperature: float,
    drafts: bool = False,
    layer: int | None = None,
) -> FittedDecisions:
    """The head of roots with `features` [N, features], where `values[i]` is what each decision led to at root i.

    `drafts`: the features are those of the answers that were written there first, which the head then goes by; `layer`:
    after which block they were read.
    `groups`: problems of one group are kept together in the cross-validation. Roots where a decision was not tried
    teach nothing of it.

    Raises:
        ValueError: there is no root, or none where answering was tried.
    """
    names = tuple(dict.fromkeys((ANSWER, *(name for value in values for name in value))))
    if not any(ANSWER in value for value in values):
        raise ValueError(f"none of {len(values)} judged roots can teach a decision head")
    folds = torch.tensor([int(stable_hash([group]), 16) % FOLDS for group in groups])
    rows, foreseen, errors = [], [], []
    for name in names:
        tried = torch.tensor([name in value for value in values])
        target = torch.tensor([value.get(name, 0.0) for value in values], dtype=torch.float64)
        held_out = _held_out(features, target, tried, folds)
        error = ((held_out - target)[:, tried] ** 2).mean(1)
        best = int(error.argmin())
        rows.append(_ridge(features[tried], target[tried], RIDGES[best]))
        foreseen.append(held_out[best])
        errors.append(float(error[best]))
    weight, bias = torch.stack([row[0] for row in rows]).float(), torch.stack([row[1] for row in rows]).float()
    head = DecisionHead(names, weight, bias, temperature, drafts, layer)
    return FittedDecisions(head, _metrics(names, torch.stack(foreseen, 1), values), sum(errors) / len(errors))


def _ridge(features: Tensor, target: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Weights [features] and bias [] of argmin |X w + b - y|^2 + penalty |S w|^2, S the features' deviations."""
    weights, biases = _ridges(features, target, (penalty,))
    return weights[0], biases[0]


def _ridges(features: Tensor, target: Tensor, penalties: Sequence[float]) -> tuple[Tensor, Tensor]:
    """`_ridge` for several penalties: weights [penalties, features], biases [penalties]. The products are made once."""
    x = features.double()
    middle, scale = x.mean(0), x.std(0, unbiased=False).clamp_min(1e-6)
    z, mean = (x - middle) / scale, target.mean()
    inner, outer = z.T @ z, z.T @ (target - mean)
    shrunk = torch.eye(z.shape[1], dtype=z.dtype)
    weights = torch.stack([torch.linalg.solve(inner + one * shrunk, outer) / scale for one in penalties])
    return weights, mean - weights @ middle


def _held_out(features: Tensor, target: Tensor, tried: Tensor, folds: Tensor) -> Tensor:
    """[RIDGES, N]: what is foreseen for each root by the fit to the other folds; the mean where these tried nothing."""
    found = torch.full((len(RIDGES), len(features)), float(target[tried].mean()), dtype=torch.float64)
    for fold in range(FOLDS):
        learnt, kept = tried & (folds != fold), folds == fold
        if bool(learnt.any()) and bool(kept.any()):
            weights, biases = _ridges(features[learnt], target[learnt], RIDGES)
            found[:, kept] = weights @ features[kept].double().T + biases[:, None]
    return found


def _metrics(names: Sequence[str], foreseen: Tensor, values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    whole = [number for number, value in enumerate(values) if set(value) == set(names)]
    if not whole:
        return {}
    chosen = [names[int(foreseen[number].argmax())] for number in whole]
    judged = [values[number] for number in whole]
    metrics = {
        "decisions/value": sum(value[name] for value, name in zip(judged, chosen, strict=True)) / len(whole),
        "decisions/value_of_best": sum(max(value.values()) for value in judged) / len(whole),
        "decisions/call_rate": sum(name != ANSWER for name in chosen) / len(whole),
    }
    return metrics | {f"decisions/value_of_{name}": sum(v[name] for v in judged) / len(whole) for name in names}
