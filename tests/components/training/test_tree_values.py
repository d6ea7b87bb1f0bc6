"""Value heads from searched trees: they learn what tells states apart, and judge each by heads that never saw it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from components.training.settings import CriticSettings
from components.training.tree_values import fit_tree_values

SETTINGS = CriticSettings(hidden=16, learning_rate=1e-2)
IDS = [f"problem {n // 3}" for n in range(120)]
SOLVED = [n // 3 % 2 == 0 for n in range(120)]


def _features(told: list[bool]) -> Tensor:
    noise = torch.randn(len(told), 8, generator=torch.Generator().manual_seed(0))
    noise[:, 0] = torch.tensor([3.0 if one else -3.0 for one in told])
    return noise


def test_what_can_be_told_apart_is_foreseen_of_problems_that_were_left_out() -> None:
    fitted = fit_tree_values(_features(SOLVED), IDS, SOLVED, [1.0] * 120, SETTINGS, seed=0)
    assert all((chance > 0.5) == solved for chance, solved in zip(fitted.chances, SOLVED, strict=True))
    chances, costs = fitted.heads(_features(SOLVED))
    assert ((chances > 0.5) == torch.tensor(SOLVED)).all()
    assert costs.mean().item() == pytest.approx(1.0, abs=0.2)


def test_a_problem_that_can_only_be_known_by_heart_is_not_foreseen() -> None:
    one_each = torch.eye(40).repeat_interleave(3, dim=0)
    fitted = fit_tree_values(one_each, IDS, SOLVED, [None] * 120, SETTINGS, seed=0)
    by_heart = fitted.heads(one_each)[0].detach()
    right = ((by_heart > 0.5) == torch.tensor(SOLVED)).float().mean()
    foreseen = sum((chance > 0.5) == solved for chance, solved in zip(fitted.chances, SOLVED, strict=True)) / 120
    assert right > 0.9
    assert foreseen < 0.75


def test_a_cost_that_nobody_knows_teaches_nothing() -> None:
    known = [2.0 if n % 2 else None for n in range(120)]
    heads = fit_tree_values(_features(SOLVED), IDS, SOLVED, known, SETTINGS, seed=0).heads
    assert heads(_features(SOLVED))[1].mean().item() == pytest.approx(2.0, abs=0.3)
    unknown = fit_tree_values(_features(SOLVED), IDS, SOLVED, [None] * 120, SETTINGS, seed=0).heads
    assert all(torch.isfinite(weights).all() for weights in unknown.parameters())


def test_the_same_seed_fits_the_same_heads_and_no_state_is_refused() -> None:
    one, other = (fit_tree_values(_features(SOLVED), IDS, SOLVED, [1.0] * 120, SETTINGS, seed=3) for _ in range(2))
    assert one.chances == other.chances
    with pytest.raises(ValueError, match="nothing to learn"):
        fit_tree_values(torch.zeros(0, 8), [], [], [], SETTINGS, seed=0)
