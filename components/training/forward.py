"""Hidden states to learn from. Takes a causal LM and token sequences; gives states of every token, differentiable.

Sequences are packed into prefix trees, so a group of rollouts on one prompt, or a whole search tree, trains on each
distinct token once; gradients are those of the separate sequences, summed. For the Llama family the blocks run over
flat tokens without any padding; the blocks below the first one that learns keep no graph. Any other model runs its own
forward, which is also what the tests compare with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from components.policy.llama import rotate, supports
from components.policy.prefix_tree import Forest, plant
from components.policy.tree_forward import States, any_blocks, any_states
from components.training.differentiable import gated_unit, linears, rms_norm, tree_attention

WHOLE, BLOCK = "read_forest", "read_block"
"""Methods under which a model and its blocks have the functions of these names, where weights must be fetched first."""


def hidden_states(model: Any, sequences: Sequence[Sequence[int]]) -> States:
    """States of all sequences after the final norm."""
    forest = plant(sequences, device=next(model.parameters()).device)
    nodes = getattr(model, WHOLE)(forest) if hasattr(model, WHOLE) else read_forest(model, forest)
    return States(nodes, forest)


def read_forest(model: Any, forest: Forest) -> Tensor:
    """[nodes, hidden] after the final norm."""
    return _llama(model, forest) if supports(model.config) else any_states(model, forest)


@torch.no_grad()
def block_states(model: Any, sequences: Sequence[Sequence[int]], blocks: Sequence[int]) -> list[States]:
    """States of all sequences after each of some blocks (the first is 1, short of the last), in their order."""
    forest = plant(sequences, device=next(model.parameters()).device)
    if not supports(model.config):
        return [States(nodes, forest) for nodes in any_blocks(model, forest, blocks)]
    inner, eps = model.model, model.config.rms_norm_eps
    batch = Batch(model.config, forest, inner.embed_tokens.weight, forgets=False)
    x, after = F.embedding(forest.ids, inner.embed_tokens.weight), {}
    for number, block in enumerate(inner.layers[: max(blocks, default=0)], start=1):
        x = after[number] = read_block(block, x, batch, eps)
    return [States(after[number], forest) for number in blocks]


class Batch:
    """What every block needs to know of a forest."""

    def __init__(self, config: Any, forest: Forest, like: Tensor, *, forgets: bool) -> None:
        self.forest, self.forgets = forest, forgets
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.cos, self.sin = self._angles(config, like)

    def _angles(self, config: Any, like: Tensor) -> tuple[Tensor, Tensor]:
        theta = float((config.rope_parameters or {}).get("rope_theta", 10000.0))
        powers = torch.arange(0, self.head_dim, 2, dtype=torch.float32, device=like.device) / self.head_dim
        angles = torch.outer(self.forest.positions.float(), theta**-powers)
        cos = torch.cat([angles.cos(), angles.cos()], -1).unsqueeze(1)
        return cos.to(like.dtype), torch.cat([-angles.sin(), angles.sin()], -1).unsqueeze(1).to(like.dtype)


def _llama(model: Any, forest: Forest) -> Tensor:
    inner, eps = model.model, model.config.rms_norm_eps
    forgets = bool(getattr(model, "is_activation_checkpointing", False)) and torch.is_grad_enabled()
    batch = Batch(model.config, forest, inner.embed_tokens.weight, forgets=forgets)
    x = F.embedding(forest.ids, inner.embed_tokens.weight)
    for block in inner.layers:
        x = getattr(block, BLOCK)(x, batch, eps) if hasattr(block, BLOCK) else read_block(block, x, batch, eps)
    return rms_norm(x, inner.norm.weight, eps)


def read_block(block: Any, x: Tensor, batch: Batch, eps: float) -> Tensor:
    """One block; where the batch forgets, what it computes is computed again for the gradient. x [nodes, hidden]"""
    if batch.forgets and x.requires_grad:
        again: Tensor = checkpoint(_block, block, x, batch, eps, use_reentrant=False)
        return again
    return _block(block, x, batch, eps)


def _block(block: Any, x: Tensor, batch: Batch, eps: float) -> Tensor:
    attention, mlp = block.self_attn, block.mlp
    normed = rms_norm(x, block.input_layernorm.weight, eps)
    read = linears(normed, attention.q_proj, attention.k_proj, attention.v_proj)
    q, k, v = (heads.unflatten(-1, (-1, batch.head_dim)) for heads in read)
    mixed = tree_attention(rotate(q, batch.cos, batch.sin), rotate(k, batch.cos, batch.sin), v, batch.forest)
    x = x + linears(mixed, attention.o_proj)[0]
    normed = rms_norm(x, block.post_attention_layernorm.weight, eps)
    output: Tensor = x + linears(gated_unit(*linears(normed, mlp.gate_proj, mlp.up_proj)), mlp.down_proj)[0]
    return output
