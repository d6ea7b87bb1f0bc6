"""The trainer's forward: the same hidden states and gradients as the Hugging Face module."""

from __future__ import annotations

import random

import pytest
import torch
from tiny_models import tiny_llama

from components.policy import kernels
from components.policy.tree_forward import States
from components.training.forward import hidden_states
from components.training.optimiser import freeze_lower

VOCABULARY = 97


@pytest.fixture(params=["compiled", "torch"], autouse=True)
def _form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every rule here holds for the compiled loops and for the torch forms that stand in for them."""
    if request.param == "torch":
        monkeypatch.setattr(kernels, "usable", lambda like: False)
    else:
        assert kernels.usable(torch.zeros(1))


def _sequences(seed: int) -> list[tuple[int, ...]]:
    draw = random.Random(seed)
    alone = [tuple(draw.randrange(VOCABULARY) for _ in range(length)) for length in (3, 11, 1, 7)]
    return [*alone, (*alone[1][:6], 3), (*alone[1][:6], 4, 5), alone[0]]


def _of(states: States, row: int, ids: tuple[int, ...]) -> torch.Tensor:
    return states.at([(row, position) for position in range(len(ids))])


@pytest.mark.parametrize("trained_layers", [1, 2, 3])
def test_states_and_gradients_agree_with_the_module_run_one_sequence_at_a_time(trained_layers: int) -> None:
    model = tiny_llama(2, layers=3, vocabulary=VOCABULARY, spread=0.2)
    freeze_lower(model, trained_layers)
    sequences, weights = _sequences(0), torch.randn(11, 64, generator=torch.Generator().manual_seed(0))
    learnt = {name: p for name, p in model.named_parameters() if p.requires_grad}

    ours = hidden_states(model, sequences)
    loss = sum((_of(ours, row, ids) * weights[: len(ids)]).sum() for row, ids in enumerate(sequences))
    our_grads = torch.autograd.grad(loss, list(learnt.values()))

    slow = [model.model(input_ids=torch.tensor([ids])).last_hidden_state[0] for ids in sequences]
    for row, states in enumerate(slow):
        assert torch.allclose(_of(ours, row, sequences[row]), states, atol=1e-4)
    slow_loss = sum((states * weights[: len(states)]).sum() for states in slow)
    for name, one, other in zip(learnt, our_grads, torch.autograd.grad(slow_loss, list(learnt.values())), strict=True):
        assert torch.allclose(one, other, atol=2e-3, rtol=1e-3), name


def test_a_single_sequence_and_a_full_batch_need_no_padding() -> None:
    model = tiny_llama(2, vocabulary=VOCABULARY)
    same = [(1, 2, 3), (4, 5, 6)]
    both = hidden_states(model, same)
    for row, ids in enumerate(same):
        assert torch.allclose(_of(hidden_states(model, [ids]), 0, ids), _of(both, row, ids), atol=1e-5)


def test_computing_blocks_again_for_the_gradient_changes_no_gradient() -> None:
    grads = []
    for checkpointing in (False, True):
        model = tiny_llama(2, layers=3, vocabulary=VOCABULARY, spread=0.2)
        freeze_lower(model, 2, checkpointing=checkpointing)
        model.train()
        hidden_states(model, _sequences(0)).nodes.square().sum().backward()
        grads.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    for name, gradient in grads[0].items():
        assert torch.allclose(gradient, grads[1][name], atol=1e-5), name
