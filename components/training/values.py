"""Value heads of a finished model: chance of success and cost to go, learnt from plays and checked on other problems.

Takes features of the states that plays went through, with their outcomes; gives heads and how well calibrated they are.
Targets are TD(lambda) returns of two rewards, success at the end and cost on the way, so that V = p-hat - lambda C-hat
holds for any lambda. A root that was left by every decision counts each by the policy's probability of it. The
language model is not changed.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from components.policy.heads import ValueHeads
from components.schema.identity import stable_hash
from components.training.returns import returns_of
from components.training.settings import CriticSettings

HELD_OUT = 5
"""One problem in so many is kept for calibration."""


def fold_of(problem_id: str) -> int:
    """Which of the `HELD_OUT` parts of the problems it belongs to; all states of a problem to the same."""
    return int(stable_hash([problem_id]), 16) % HELD_OUT


@dataclass(frozen=True, slots=True)
class Play:
    """What a finished trajectory tells about the states that it went through."""

    problem_id: str
    states: tuple[tuple[int, ...], ...]
    """Tokens of the state before each turn."""
    success: bool
    costs: tuple[float, ...]
    """Cost of each turn, in units of the price sheet."""
    weight: float
    """Probability that the policy leaves the root as this play did."""

    def held_out(self) -> bool:
        """Whether its problem is kept for calibration."""
        return fold_of(self.problem_id) == 0


@dataclass(frozen=True, slots=True)
class Fitted:
    """Heads, and how good they are on problems they did not see."""

    heads: ValueHeads
    metrics: dict[str, float]


def fit_values(features: Tensor, plays: Sequence[Play], settings: CriticSettings, *, seed: int) -> Fitted:
    """Fit heads to `plays`, whose states lie one after another in `features` [N, hidden].

    Raises:
        ValueError: no play is left to learn from.
    """
    learnt = [play for play in plays if not play.held_out()]
    if not learnt:
        raise ValueError(f"none of {len(plays)} plays can teach the value heads")
    row_kept = torch.tensor([play.held_out() for play in plays for _ in play.states])
    heads = _fit(features[~row_kept], learnt, settings, seed=seed)
    kept = [play for play in plays if play.held_out()]
    return Fitted(heads, calibration(heads, features[row_kept], kept) if kept else {})


def _fit(features: Tensor, plays: Sequence[Play], settings: CriticSettings, *, seed: int) -> ValueHeads:
    heads = ValueHeads(features.shape[1], settings.hidden, seed=seed)
    targets = copy.deepcopy(heads).requires_grad_(False)
    adam = torch.optim.AdamW(heads.parameters(), lr=settings.learning_rate, weight_decay=0.01)
    weights = _weights(plays)
    for _ in range(settings.fit_updates):
        solved, cost = _targets(targets, features, plays, trace=settings.trace)
        p, c = heads(features)
        each = F.binary_cross_entropy(p, solved, reduction="none") + F.smooth_l1_loss(c, cost, reduction="none")
        adam.zero_grad()
        ((weights * each).sum() / weights.sum()).backward()
        adam.step()
        with torch.no_grad():
            for target, head in zip(targets.parameters(), heads.parameters(), strict=True):
                target.lerp_(head, settings.polyak)
    return heads


@torch.no_grad()
def _targets(heads: ValueHeads, features: Tensor, plays: Sequence[Play], *, trace: float) -> tuple[Tensor, Tensor]:
    """TD(lambda) targets of p-hat and C-hat, [N] each."""
    p, c = heads(features)
    won = [(*(0.0,) * (len(play.states) - 1), float(play.success)) for play in plays]
    solved = torch.tensor(returns_of(won, p.tolist(), trace=trace)).clamp(0.0, 1.0)
    return solved, torch.tensor(returns_of([play.costs for play in plays], c.tolist(), trace=trace))


def _weights(plays: Sequence[Play]) -> Tensor:
    """[N]: a root counts by the probability of the way it was left, a later state fully."""
    return torch.tensor([play.weight if turn == 0 else 1.0 for play in plays for turn in range(len(play.states))])


@torch.no_grad()
def calibration(heads: ValueHeads, features: Tensor, plays: Sequence[Play]) -> dict[str, float]:
    """Brier score and AUC of p-hat, mean error of C-hat; AUC is left out where all ended alike."""
    weights, (p, c) = _weights(plays), heads(features)
    solved, cost = _targets(heads, features, plays, trace=1.0)
    metrics = {
        "value/brier": float((weights * (p - solved).square()).sum() / weights.sum()),
        "value/cost_error": float((weights * (c - cost).abs()).sum() / weights.sum()),
    }
    area = auc(p, solved > 0.5, weights)
    return metrics if area is None else {**metrics, "value/auc": area}


def auc(scores: Tensor, positive: Tensor, weights: Tensor) -> float | None:
    """Chance that a weighted random positive scores above a negative, ties half; None where there is only one kind."""
    high, low = scores[positive], scores[~positive]
    pairs = weights[positive][:, None] * weights[~positive][None, :]
    if not float(pairs.sum()):
        return None
    above = (high[:, None] > low[None, :]).float() + 0.5 * (high[:, None] == low[None, :]).float()
    return float((pairs * above).sum() / pairs.sum())
