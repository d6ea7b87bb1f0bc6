"""The trust region: no single update turns the decisions over, and one that stays within it is taken as it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import chat, leaning_llama, specs_of
from toy_groups import PROBLEM, TOOLS, vocabulary

from components.schema.trajectory import ANSWER
from components.training.losses import decision_log_probs
from components.training.optimiser import MasterAdamW, freeze_lower
from components.training.policy_gradient import decisions_backward
from components.training.settings import ReinforceSettings
from components.training.trust import HALVINGS, trusted_step

WORTH = {ANSWER: 1.0, "search": 0.0, "python": 0.0}


def _context() -> tuple[int, ...]:
    return chat().prompt_ids(PROBLEM.prompt, specs_of(TOOLS))


@torch.no_grad()
def _decisions(model: Any) -> torch.Tensor:
    names = [chat().encode(name) for name in TOOLS]
    return decision_log_probs(model, [_context()], chat().call_opening, names)[0]


def _stepped(trust: float | None, *, learning_rate: float) -> tuple[Any, dict[str, float], float]:
    """The model after one update towards answering, its metrics, and KL(before || after) computed apart from them."""
    settings = ReinforceSettings(learning_rate=learning_rate, decision_trust=trust, trained_layers=2)
    model = leaning_llama()
    freeze_lower(model, 2)
    before = _decisions(model)
    optimiser = MasterAdamW(model, learning_rate=learning_rate, warmup_steps=0, total_steps=8, max_grad_norm=1.0)
    decisions_backward(model, [_context()], [WORTH], settings, vocabulary())
    metrics = trusted_step(model, optimiser, [_context()], settings, vocabulary())
    drift = float((before.exp() * (before - _decisions(model))).sum())
    assert optimiser.step_count == 1
    return model, metrics, drift


def test_an_update_that_turns_the_decisions_over_is_shortened_until_it_does_not() -> None:
    _, free, far = _stepped(None, learning_rate=0.003)
    _, held, near = _stepped(0.1, learning_rate=0.003)
    assert far > 0.2
    assert "optim/step_share" not in free
    assert 0 < near <= 0.1
    assert held["optim/decision_drift"] == pytest.approx(near, abs=1e-5)
    assert 2**-HALVINGS <= held["optim/step_share"] < 1
    assert held["optim/grad_norm"] == free["optim/grad_norm"]


def test_it_still_goes_where_the_reward_is() -> None:
    model, _, _ = _stepped(0.1, learning_rate=0.003)
    assert _decisions(model)[0] > _decisions(leaning_llama())[0]


def test_an_update_within_the_region_is_taken_as_it_is() -> None:
    free, _, _ = _stepped(None, learning_rate=1e-4)
    held, metrics, _ = _stepped(0.1, learning_rate=1e-4)
    assert metrics["optim/step_share"] == 1
    assert all(torch.equal(a, b) for a, b in zip(free.parameters(), held.parameters(), strict=True))


def test_an_update_that_is_too_long_however_often_it_is_halved_is_not_taken() -> None:
    model, metrics, drift = _stepped(0.1, learning_rate=0.05)
    assert (metrics["optim/step_share"], metrics["optim/decision_drift"], drift) == (0, 0, 0)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), leaning_llama().parameters(), strict=True))


def test_where_no_decisions_are_learnt_nothing_is_measured() -> None:
    settings, model = ReinforceSettings(), leaning_llama()
    freeze_lower(model, 2)
    optimiser = MasterAdamW(model, learning_rate=1e-4, warmup_steps=0, total_steps=8, max_grad_norm=1.0)
    assert trusted_step(model, optimiser, [], settings, vocabulary()) == {"optim/grad_norm": 0.0}
