"""A lean forward pass for the Llama family (Llama, SmolLM2): fused and prepacked linears, a key-value cache by row.

Takes the weights of a Hugging Face `LlamaForCausalLM`; gives hidden states and logits. It does not sample, tokenise or
train: training uses the Hugging Face module itself, and the tests require both to agree.
Left out against the textbook: attention dropout and biases (the family has none); rotary scaling other than `default`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Linear = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class LlamaShape:
    """Sizes of the model."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    norm_eps: float
    rope_theta: float
    max_positions: int


@dataclass(slots=True)
class LlamaLayer:
    """One block, ready to run."""

    attention_norm: Tensor
    qkv: Linear
    output: Linear
    mlp_norm: Tensor
    gate_up: Linear
    down: Linear


@dataclass(slots=True)
class LlamaWeights:
    """The whole model, ready to run. `layers[i]` may be replaced when block i was trained."""

    shape: LlamaShape
    embedding: Tensor
    layers: list[LlamaLayer]
    final_norm: Tensor
    head: Linear
    cos: Tensor
    """[max_positions, head_dim]"""
    sin: Tensor


def supports(config: object) -> bool:
    """Whether this forward computes exactly what the Hugging Face module with this configuration computes."""
    rope = getattr(config, "rope_parameters", None) or {}
    return (
        getattr(config, "model_type", "") == "llama"
        and not getattr(config, "attention_bias", False)
        and not getattr(config, "mlp_bias", False)
        and rope.get("rope_type", "default") == "default"
    )


def packed_linear(weight: Tensor) -> Linear:
    """x -> x W^T, with the weight laid out once for oneDNN where that is faster (bf16 on CPU)."""
    weight = weight.detach()
    if weight.device.type != "cpu" or weight.dtype != torch.bfloat16 or not torch.backends.mkldnn.is_available():
        return lambda x: F.linear(x, weight)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, 64)
    multiply = torch.ops.mkldnn._linear_pointwise
    return lambda x: multiply(x, packed, None, "none", [], "")  # type: ignore[no-any-return]


def _shape(config: object, max_positions: int) -> LlamaShape:
    read = lambda name: getattr(config, name)  # noqa: E731
    rope = getattr(config, "rope_parameters", None) or {"rope_theta": getattr(config, "rope_theta", 10000.0)}
    return LlamaShape(
        layers=read("num_hidden_layers"),
        hidden=read("hidden_size"),
        heads=read("num_attention_heads"),
        kv_heads=read("num_key_value_heads"),
        head_dim=getattr(config, "head_dim", None) or read("hidden_size") // read("num_attention_heads"),
        vocabulary=read("vocab_size"),
        norm_eps=read("rms_norm_eps"),
        rope_theta=float(rope["rope_theta"]),
        max_positions=min(max_positions, read("max_position_embeddings")),
    )


def pack_layer(block: nn.Module) -> LlamaLayer:
    """One Hugging Face block with its projections fused (QKV, gate-up) and prepacked."""
    attention, mlp = block.self_attn, block.mlp
    qkv = torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight])
    return LlamaLayer(
        attention_norm=block.input_layernorm.weight.detach(),
        qkv=packed_linear(qkv),
        output=packed_linear(attention.o_proj.weight),
        mlp_norm=block.post_attention_layernorm.weight.detach(),
        gate_up=packed_linear(torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight])),
        down=packed_linear(mlp.down_proj.weight),
    )


def pack(model: nn.Module, *, max_positions: int = 2048) -> LlamaWeights:
    """Weights of a Hugging Face Llama, ready for `forward`.

    Raises:
        ValueError: the configuration uses something this forward leaves out.
    """
    config = model.config
    if not supports(config):
        raise ValueError(f"not a plain Llama configuration: {getattr(config, 'model_type', None)}")
    shape = _shape(config, max_positions)
    inverse = shape.rope_theta ** (-torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim)
    angles = torch.outer(torch.arange(shape.max_positions, dtype=torch.float32), inverse)
    angles = torch.cat([angles, angles], dim=-1)
    inner = model.model
    dtype, device = inner.embed_tokens.weight.dtype, inner.embed_tokens.weight.device
    return LlamaWeights(
        shape=shape,
        embedding=inner.embed_tokens.weight.detach(),
        layers=[pack_layer(block) for block in inner.layers],
        final_norm=inner.norm.weight.detach(),
        head=packed_linear(model.lm_head.weight),
        cos=angles.cos().to(device, dtype),
        sin=angles.sin().to(device, dtype),
    )


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding (Su et al. 2021). x [N, heads, head_dim]; cos, sin [N, 1, head_dim]."""
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], dim=-1)
    return torch.addcmul(x * cos, turned, sin)


def layer_forward(
    x: Tensor,
    layer: LlamaLayer,
    shape: LlamaShape,
    cos: Tensor,
    sin: Tensor,
    attend: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Tensor:
    """One block over flat tokens. x [N, hidden]; `attend(q, k, v)` maps [N, heads, D], [N, kv, D] x 2 to [N, heads * D]."""
    normed = F.rms_norm(x, (shape.hidden,), layer.attention_norm, shape.norm_eps)
    q, k, v = layer.qkv(normed).split(
        [shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim, shape.kv_heads * shape.head_dim], dim=-1
    )
    q = rotate(q.unflatten(-1, (shape.heads, shape.head_dim)), cos, sin)
    k = rotate(k.unflatten(-1, (shape.kv_heads, shape.head_dim)), cos, sin)
    x = x + layer.output(attend(q, k, v.unflatten(-1, (shape.kv_heads, shape.head_dim))))
    normed = F.rms_norm(x, (shape.hidden,), layer.mlp_norm, shape.norm_eps)
    gate, up = layer.gate_up(normed).chunk(2, dim=-1)
    return x + layer.down(F.silu(gate) * up)
