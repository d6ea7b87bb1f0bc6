"""Devices: every tensor that the engine makes names the device on which it lies.

A tensor made without one lies on the processor, and on a GPU the next operation fails: the usual slip, found here
without a GPU. What is *computed* on one is the contract's business (test_backend_contract.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_models import chat, specs_of, tiny_llama, tiny_policy
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

from components.policy.load import NoDevice, device_of
from components.policy.settings import PolicySettings
from components.policy.turn import GenerateRequest, ScoreRequest
from components.training.examples import Example
from components.training.losses import decision_log_probs, denominators, imitation_losses
from components.training.optimiser import MasterAdamW, freeze_lower

NAMES = ("search", "python", "delegate")


class EveryTensorNamesItsDevice(TorchFunctionMode):
    """Refuses to make a tensor when nobody says where."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if func in _device_constructors() and (kwargs or {}).get("device") is None:
            raise AssertionError(f"torch.{func.__name__} without a device")
        return func(*args, **(kwargs or {}))


def test_a_tensor_without_a_device_is_found() -> None:
    with EveryTensorNamesItsDevice():
        torch.zeros(3, device="cpu")
        with pytest.raises(AssertionError, match="arange"):
            torch.arange(3)


@pytest.mark.usefixtures("loops")
def test_generating_deciding_and_scoring_name_the_device_of_every_tensor() -> None:
    policy, specs = tiny_policy(), specs_of(NAMES)
    first = GenerateRequest(chat().prompt_ids("What is the capital of Chad?", specs), specs)
    later = replace(first, context_ids=first.context_ids + chat().encode("word"))
    forced = [replace(first, decision=name, temperature=1.5, answer_temperature=0.7) for name in (*NAMES, "answer")]
    with EveryTensorNamesItsDevice():
        policy.decide([first])
        actions = policy.generate([first, later, *forced])
        policy.score([ScoreRequest(first.context_ids, 1), ScoreRequest(later.context_ids, 3)])
    assert all(action.stop is None or sum(action.written) for action in actions)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_losses_and_the_optimiser_name_the_device_of_every_tensor(checkpointing: bool) -> None:
    model = tiny_llama(vocabulary=97)
    freeze_lower(model, 1, checkpointing=checkpointing)
    model.train()
    examples = [
        Example(ids=(7, 8, 9, 1, 2), answers=(3, 4), firsts=(3,), stays=(3,)),
        Example(ids=(7, 5, 6), calls=((1, 2),), arguments=(2,)),
    ]
    optimiser = MasterAdamW(model, learning_rate=1e-2, warmup_steps=2, total_steps=6, max_grad_norm=1.0)
    with EveryTensorNamesItsDevice():
        losses = imitation_losses(model, examples, denominators(examples), call_token=5)
        decisions = decision_log_probs(model, [(7, 8), (9,)], (5, 6), [(1,), (2, 3)])
    (losses.decision + losses.argument + losses.answer + decisions.sum()).backward()
    assert optimiser.step() > 0


def test_without_a_gpu_auto_is_the_processor_and_asking_for_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of(PolicySettings()).type == "cpu"
    with pytest.raises(NoDevice, match=r"policy\.device"):
        device_of(PolicySettings(device="cuda"))
