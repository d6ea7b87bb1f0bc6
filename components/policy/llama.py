"""A lean forward pass for the Llama family (Llama, SmolLM2): fused and prepacked linears, a key-value cache by row.

Takes the weights of a Hugging Face `LlamaForCausalLM`; gives hidden states and logits. It does not sample, tokenise or
train: training uses the Hugging Face module itself, and the tests require both to agree.
Left out against the textbook: attention dropout and biases (the family has none); rotary scaling other than `default`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from components.policy import kernels
from components.policy.model_type import CausalLM

MAX_POSITIONS = 2048
"""Tokens for which rotations are laid out by default."""
Linear = Callable[[Tensor], Tensor]
Joining = Callable[[Tensor, Tensor], Tensor]
"""A linear whose result is at once added to, or multiplied by, a second tensor."""
Mixing = Callable[[Tensor], Tensor]
"""Attention: heads of tokens [N, heads + 2 kv_heads, D] -> [N, heads * D]."""


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
    """One block, ready to run; the gains of its norms are folded into the linears that read them."""

    qkv: Linear
    output: Joining
    """(x, residual) -> residual + x W^T"""
    gate: Linear
    """silu(x W^T)"""
    up: Joining
    """(x, gate) -> x W^T * gate"""
    down: Joining
    """(x, residual) -> residual + x W^T"""


@dataclass(slots=True)
class LlamaWeights:
    """The whole model, ready to run. `layers[i]` may be replaced when block i was trained."""

    shape: LlamaShape
    embedding: Tensor
    layers: list[LlamaLayer]
    head: Linear
    """The gain of the final norm is folded in."""
    cos: Tensor
    """[max_positions, head_dim]"""
    sin: Tensor
    """[max_positions, head_dim], the first half negated: the sign of the rotation is folded in."""
    packed: bool = False
    """Whether oneDNN runs the linears: numbers of rows are rounded up then (`even_rows`)."""


def supports(config: object) -> bool:
    """Whether this forward computes exactly what the Hugging Face module with this configuration computes."""
    rope = getattr(config, "rope_parameters", None) or {}
    return (
        getattr(config, "model_type", "") == "llama"
        and not getattr(config, "attention_bias", False)
        and not getattr(config, "mlp_bias", False)
        and rope.get("rope_type", "default") == "default"
    )


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 natively; processors without AVX-512 or AVX-NE-CONVERT emulate it."""
    if device.type == "cpu":
        return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)


def _packs(weight: Tensor) -> bool:
    """Whether oneDNN runs this weight faster when it is laid out once: on processors, where it can."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return weight.dtype == torch.float32 or (weight.dtype == torch.bfloat16 and multiplies_bf16(weight.device))


def packed_linear(weight: Tensor, *, silu: bool = False) -> Linear:
    """x -> x W^T, then silu if asked, without a pass over memory of its own."""
    weight = weight.detach()
    if not _packs(weight):
        return (lambda x: F.silu(F.linear(x, weight))) if silu else (lambda x: F.linear(x, weight))
    packed, after = torch.ops.mkldnn._reorder_linear_weight(weight, 64), "swish" if silu else "none"
    multiply = torch.ops.mkldnn._linear_pointwise
    return lambda x: multiply(x, packed, None, after, [], "")


def packed_joining(weight: Tensor, join: Literal["add", "mul"]) -> Joining:
    """(x, other) -> x W^T + other, or x W^T * other; joined while the result is still at hand."""
    weight = weight.detach()
    if not _packs(weight):
        if join == "add":
            return lambda x, other: F.linear(x, weight) + other
        return lambda x, other: F.linear(x, weight) * other
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, 64)
    multiply = torch.ops.mkldnn._linear_pointwise.binary
    return lambda x, other: multiply(x, other, packed, None, join)


def even_rows(count: int) -> int:
    """Rows to compute for `count`: itself up to 16, then the next of eight steps to every power of two.

    oneDNN makes and keeps a kernel of its own for every number of rows that it meets: 3 to 10 ms and up to 4 MB each
    over the blocks of a model of 135M, for as long as a server lives. This way there are few, and soon all are made.
    """
    step = 1 << max(0, count.bit_length() - 4)
    return -(-count // step) * step


def evened(x: Tensor, mix: Mixing, *, packed: bool) -> tuple[Tensor, Mixing]:
    """x [N, hidden] with rows of zeros up to `even_rows` where `packed`, and the mixing that leaves them alone."""
    count = len(x)
    more = even_rows(count) - count if packed else 0
    if not more:
        return x, mix
    return F.pad(x, (0, 0, 0, more)), lambda read: F.pad(mix(read[:count]), (0, 0, 0, more))


def _evened_linear(linear: Linear) -> Linear:
    return lambda x: linear(F.pad(x, (0, 0, 0, even_rows(len(x)) - len(x))))[: len(x)]


def _shape(config: object, max_positions: int) -> LlamaShape:
    def read(name: str) -> Any:
        return getattr(config, name)

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


def folded(weight: Tensor, gain: Tensor) -> Tensor:
    """The linear that reads x as if it had been multiplied by `gain` before; computed in fp32."""
    return (weight.detach().float() * gain.detach().float()).to(weight.dtype)


def weight_of(linear: Any) -> Tensor:
    """The weight that a linear amounts to: with LoRA adapters W + scale B A, joined in fp32; the module is not touched.

    Source: Hu et al. 2021, equation 3.
    """
    weight: Tensor = linear.weight.detach()
    for name, down in getattr(linear, "lora_A", {}).items():
        delta = linear.lora_B[name].weight.detach().float() @ down.weight.detach().float()
        weight = (weight.float() + linear.scaling[name] * delta).to(weight.dtype)
    return weight


def pack_layer(block: Any) -> LlamaLayer:
    """One Hugging Face block with its projections fused and prepacked; adapters are merged into what is packed."""
    attention, mlp = block.self_attn, block.mlp
    qkv = torch.cat([weight_of(linear) for linear in (attention.q_proj, attention.k_proj, attention.v_proj)])
    gain = block.post_attention_layernorm.weight
    return LlamaLayer(
        qkv=packed_linear(folded(qkv, block.input_layernorm.weight)),
        output=packed_joining(weight_of(attention.o_proj), "add"),
        gate=packed_linear(folded(weight_of(mlp.gate_proj), gain), silu=True),
        up=packed_joining(folded(weight_of(mlp.up_proj), gain), "mul"),
        down=packed_joining(weight_of(mlp.down_proj), "add"),
    )


def pack_head(model: Any) -> Linear:
    """The output embedding with the final norm's gain."""
    weight = folded(model.lm_head.weight, model.model.norm.weight)
    return _evened_linear(packed_linear(weight)) if _packs(weight) else packed_linear(weight)


def most_positions(config: object) -> int:
    """Tokens that `forward` can read of a model with this configuration, by default."""
    return _shape(config, MAX_POSITIONS).max_positions


def pack(model: CausalLM, *, max_positions: int = MAX_POSITIONS) -> LlamaWeights:
    """Weights of a Hugging Face Llama, ready for `forward`.

    Raises:
        ValueError: the configuration uses something this forward leaves out.
    """
    config = model.config
    if not supports(config):
        raise ValueError(f"not a plain Llama configuration: {getattr(config, 'model_type', None)}")
    shape = _shape(config, max_positions)
    inverse = shape.rope_theta ** (
        -torch.arange(0, shape.head_dim, 2, dtype=torch.float32, device="cpu") / shape.head_dim
    )
    angles = torch.outer(torch.arange(shape.max_positions, dtype=torch.float32, device="cpu"), inverse)
    angles = torch.cat([angles, angles], dim=-1)
    signs = torch.ones(shape.head_dim, device="cpu")
    signs[: shape.head_dim // 2] = -1.0
    inner = model.model
    dtype, device = inner.embed_tokens.weight.dtype, inner.embed_tokens.weight.device
    return LlamaWeights(
        shape=shape,
        embedding=inner.embed_tokens.weight.detach(),
        layers=[pack_layer(block) for block in inner.layers],
        head=pack_head(model),
        cos=angles.cos().to(device, dtype),
        sin=(angles.sin() * signs).to(device, dtype),
        packed=_packs(inner.embed_tokens.weight),
    )


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding (Su et al. 2021). x [N, heads, head_dim]; cos, sin [N, 1, head_dim], sin with the sign in it."""
    half = x.shape[-1] // 2
    return torch.addcmul(x * cos, torch.cat([x[..., half:], x[..., :half]], dim=-1), sin)


def turned_heads(read: Tensor, shape: LlamaShape, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q [N, heads, D], k and v [N, kv_heads, D] of [N, heads + 2 kv_heads, D]; q, k rotated by cos, sin [N, 1, D]."""
    turned = rotate(read[:, : shape.heads + shape.kv_heads], cos, sin)
    return turned[:, : shape.heads], turned[:, shape.heads :], read[:, shape.heads + shape.kv_heads :]


def normalise(x: Tensor, eps: float) -> Tensor:
    """x / rms(x) over the last dimension, in two passes over memory (the library's norm takes six on a CPU)."""
    if kernels.usable(x):
        return kernels.norm(x, eps)
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
    scale: Tensor = length.square_().mul_(1.0 / x.shape[-1]).add_(eps).rsqrt_().to(x.dtype)
    return x * scale


def layer_forward(
    x: Tensor,
    layer: LlamaLayer,
    shape: LlamaShape,
    attend: Mixing,
) -> Tensor:
    """One block over flat tokens. x [N, hidden]; `attend` turns and mixes [N, heads + 2 kv_heads, D] to [N, heads * D].

    The heads come as queries, keys and values, before the rotary embedding.
    """
    read = layer.qkv(normalise(x, shape.norm_eps)).unflatten(-1, (-1, shape.head_dim))
    x = layer.output(attend(read), x)
    normed = normalise(x, shape.norm_eps)
    return layer.down(layer.up(normed, layer.gate(normed)), x)


def warm(weights: LlamaWeights, *, rows: int, drawn: int) -> None:
    """Have the kernels made for up to `rows` tokens read and `drawn` logits at once, before anybody waits for them.

    One block does for all, since they have the same shapes. Without packed weights there is nothing to make.
    """
    if not weights.packed:
        return
    shape, embedding = weights.shape, weights.embedding
    width = shape.heads * shape.head_dim
    for count in sorted({even_rows(one) for one in range(1, rows + 1)}):
        x = embedding.new_zeros(count, shape.hidden)
        layer_forward(x, weights.layers[0], shape, lambda read: read.flatten(1)[:, :width].contiguous())
    for count in sorted({even_rows(one) for one in range(1, drawn + 1)}):
        weights.head(embedding.new_zeros(count, shape.hidden))
