"""What of a model learns: its upper blocks whole, or low-rank adapters on their linears (LoRA, Hu et al. 2021).

Takes a causal LM and a trainer's settings; marks what learns, and in the end merges adapters into the weights, so that
what is saved is a plain model. Takes no step. Left out of LoRA: dropout, adapters on embeddings, biases.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from components.policy.llama import weight_of
from components.policy.model_type import CausalLM
from components.training.optimiser import freeze_lower
from components.training.settings import TrainerSettings

LORA_SCALE = 2.0
"""alpha / rank: what an adapter's output is multiplied by."""
_NAME = "default"


def open_training(model: CausalLM, settings: TrainerSettings, *, seed: int) -> tuple[int, ...]:
    """Let the upper blocks learn, or adapters on their linears alone; the blocks' indices come back.

    `seed`: of the adapters' first weights. An adapter adds nothing at first: its B is zero.
    """
    layers = freeze_lower(model, settings.trained_layers, checkpointing=settings.gradient_checkpointing)
    if settings.lora_rank:
        _inject(model, layers, settings.lora_rank)
        _draw(model, torch.Generator().manual_seed(seed))
    return layers


def close_training(model: CausalLM) -> None:
    """Merge adapters into the weights and take them away; a model without any is left as it is."""
    for name, adapted in _adapted(model):
        plain = adapted.get_base_layer()
        with torch.no_grad():
            plain.weight.copy_(weight_of(adapted))
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, plain)
    if hasattr(model, "peft_config"):
        del model.peft_config


def _inject(model: CausalLM, layers: tuple[int, ...], rank: int) -> None:
    from peft import LoraConfig, inject_adapter_in_model  # seconds of imports that training without adapters spares

    blocks = {id(module) for layer in layers for module in model.model.layers[layer].modules()}
    linears = [n for n, module in model.named_modules() if id(module) in blocks and isinstance(module, nn.Linear)]
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=LORA_SCALE * rank, target_modules=linears), model)


def _draw(model: CausalLM, generator: torch.Generator) -> None:
    """A as LoRA begins, drawn in fp32 on the processor, so that it is the same for every type and device."""
    for _, adapted in _adapted(model):
        weight = adapted.lora_A[_NAME].weight
        drawn = torch.empty(weight.shape, device="cpu")
        nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
        with torch.no_grad():
            weight.copy_(drawn)


def _adapted(model: CausalLM) -> list[tuple[str, CausalLM]]:
    """Name and module of every linear with an adapter, in the model's order."""
    return [(name, module) for name, module in model.named_modules() if hasattr(module, "lora_A")]
