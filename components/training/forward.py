"""Hidden states to learn from. Takes a causal LM and token sequences; gives states of every token, differentiable.

Sequences are packed into prefix trees, so a group of rollouts on one prompt, or a whole search tree, trains on each
distinct token once; gradients are those of the separate sequences, summed. For the Llama family the blocks run over
flat tokens (padding only inside attention) with a hand-written RMSNorm; the blocks below the first one that learns keep
no graph. Any other model runs its own forward, which is also what the tests compare with.
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
from components.policy.tree_forward import States, any_states


def hidden_states(model: Any, sequences: Sequence[Sequence[int]]) -> States:
    """States of all sequences after the final norm."""
    forest = plant(sequences, device=next(model.parameters()).device)
    nodes = _llama(model, forest) if supports(model.config) else any_states(model, forest)
    return States(nodes, forest)


class _RMSNorm(torch.autograd.Function):
    """x / rms(x) * gain (Zhang & Sennrich 2019) with its gradient in few passes over memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, eps: float) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        inverse = length.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        normed = x * inverse.to(x.dtype)
        ctx.save_for_backward(normed, gain, inverse)
        scaled: Tensor = normed * gain
        return scaled

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        normed, gain, inverse = ctx.saved_tensors
        (grad,) = grads
        through = grad * gain
        along = torch.linalg.vecdot(through, normed).unsqueeze(-1).div_(normed.shape[-1])
        grad_x = torch.addcmul(through, normed, along, value=-1).mul_(inverse.to(grad.dtype))
        grad_gain = torch.einsum("nh,nh->h", grad, normed) if ctx.needs_input_grad[1] else None
        return grad_x, grad_gain, None


def _norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    normed: Tensor = _RMSNorm.apply(x, gain, eps)  # type: ignore[no-untyped-call]
    return normed


class _Batch:
    """What every block needs to know of a forest."""

    def __init__(self, config: Any, forest: Forest, like: Tensor) -> None:
        self.forest = forest
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.kv_heads, self.group = config.num_key_value_heads, config.num_attention_heads // config.num_key_value_heads
        self.cos, self.sin = self._angles(config, like)
        self.mask = forest.mask(like.dtype).repeat(1, self.group, 1).unsqueeze(1)

    def _angles(self, config: Any, like: Tensor) -> tuple[Tensor, Tensor]:
        theta = float((config.rope_parameters or {}).get("rope_theta", 10000.0))
        powers = torch.arange(0, self.head_dim, 2, dtype=torch.float32, device=like.device) / self.head_dim
        angles = torch.outer(self.forest.positions.float(), theta**-powers)
        cos = torch.cat([angles.cos(), angles.cos()], -1).unsqueeze(1)
        return cos.to(like.dtype), torch.cat([-angles.sin(), angles.sin()], -1).unsqueeze(1).to(like.dtype)


def _llama(model: Any, forest: Forest) -> Tensor:
    inner, eps = model.model, model.config.rms_norm_eps
    batch = _Batch(model.config, forest, inner.embed_tokens.weight)
    x = F.embedding(forest.ids, inner.embed_tokens.weight)
    forgets = bool(getattr(model, "is_activation_checkpointing", False)) and torch.is_grad_enabled()
    for block in inner.layers:
        if forgets and x.requires_grad:
            x = checkpoint(_block, block, x, batch, eps, use_reentrant=False)
        else:
            x = _block(block, x, batch, eps)
    return _norm(x, inner.norm.weight, eps)


def _block(block: Any, x: Tensor, batch: _Batch, eps: float) -> Tensor:
    attention, mlp = block.self_attn, block.mlp
    normed = _norm(x, block.input_layernorm.weight, eps)
    q, k, v = (
        p(normed).unflatten(-1, (-1, batch.head_dim)) for p in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    mixed = _attend(rotate(q, batch.cos, batch.sin), rotate(k, batch.cos, batch.sin), v, batch)
    x = x + attention.o_proj(mixed)
    normed = _norm(x, block.post_attention_layernorm.weight, eps)
    output: Tensor = x + mlp.down_proj(F.silu(mlp.gate_proj(normed)) * mlp.up_proj(normed))
    return output


def _attend(q: Tensor, k: Tensor, v: Tensor, batch: _Batch) -> Tensor:
    """Grouped-query attention of every node to its ancestors; the heads of a group fold into the query length."""
    forest = batch.forest
    folded = forest.pad(q).unflatten(2, (batch.kv_heads, batch.group)).permute(0, 2, 3, 1, 4).flatten(2, 3)
    keys, values = forest.pad(k).permute(0, 2, 3, 1), forest.pad(v).transpose(1, 2)
    scores = torch.matmul(folded * batch.head_dim**-0.5, keys) + batch.mask
    mixed = torch.matmul(scores.softmax(-1), values).unflatten(2, (batch.group, forest.width))
    return forest.flat(mixed.permute(0, 3, 1, 2, 4).flatten(2, 4))
