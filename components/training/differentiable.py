"""Parts of a Llama block with gradients in few passes over memory: linears, RMS norm, gated unit, tree attention.

Takes tensors; gives tensors that autograd can go back through. On a CPU a training step waits for memory as much as for
its matrix products, so what is cheap to compute again is not kept: attention keeps no probabilities, and works tree by
tree, without padding. Where the compiled loops are not at hand torch does the same.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from components.policy import kernels
from components.policy.prefix_tree import Forest
from components.policy.tree_forward import padded_attention


def rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    """x / rms(x) * gain (Zhang & Sennrich 2019). x [N, hidden]"""
    if not kernels.usable(x):
        return F.rms_norm(x, gain.shape, gain, eps)
    normed: Tensor = _RMSNorm.apply(x, gain, eps)  # type: ignore[no-untyped-call]
    return normed


def gated_unit(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up (Shazeer 2020), of two tensors of one shape."""
    if not kernels.usable(gate):
        return F.silu(gate) * up
    out: Tensor = _Gated.apply(gate, up)  # type: ignore[no-untyped-call]
    return out


def linears(x: Tensor, *modules: Any) -> tuple[Tensor, ...]:
    """x W^T for every module, x [N, in]; their gradients share what they have in common."""
    plain = all(type(module) is torch.nn.Linear and module.bias is None for module in modules)
    if not plain or not kernels.usable(x):
        return tuple(module(x) for module in modules)
    outputs: tuple[Tensor, ...] = _Linears.apply(x, *(module.weight for module in modules))  # type: ignore[no-untyped-call]
    return outputs


def tree_attention(q: Tensor, k: Tensor, v: Tensor, forest: Forest) -> Tensor:
    """Grouped-query attention of every node to its ancestors and itself.

    q [nodes, heads, D]; k, v [nodes, kv_heads, D]; gives [nodes, heads * D].
    """
    if not kernels.usable(q):
        return padded_attention(q, k, v, forest)
    mixed: Tensor = _TreeAttention.apply(q, k, v, forest)  # type: ignore[no-untyped-call]
    return mixed.flatten(1)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, eps: float) -> Tensor:
        ctx.eps = eps
        ctx.save_for_backward(x, gain)
        return kernels.scaled_norm(x, gain, eps)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        x, gain = ctx.saved_tensors
        grad_x, grad_gain = kernels.scaled_norm_backward(grads[0], x, gain, ctx.eps)
        return grad_x, grad_gain.to(gain.dtype), None


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return kernels.gated(gate, up)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        return kernels.gated_backward(grads[0], *ctx.saved_tensors)


class _Linears(torch.autograd.Function):
    """Products along memory: in bf16 the library takes twice as long when a factor of a gradient lies across."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x, *weights)
        return tuple(_product(x, weight) for weight in weights)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        grad_x = None
        if ctx.needs_input_grad[0]:
            for grad, weight in zip(grads, weights, strict=True):
                grad_x = _product(grad, weight.t(), grad_x)
        wanted = ctx.needs_input_grad[1:]
        wide = any(want and weight.shape[0] > weight.shape[1] for want, weight in zip(wanted, weights, strict=True))
        across = kernels.transposed(x) if wide and x.dtype != torch.float32 else None
        return grad_x, *(
            _weight_grad(x, across, grad) if want else None for want, grad in zip(wanted, grads, strict=True)
        )


def _product(x: Tensor, weight: Tensor, before: Tensor | None = None) -> Tensor:
    """x weight^T, added to `before` if there is any; in fp32 by oneDNN, which torch itself asks for bf16 alone (a tenth
    of a training step)."""
    if x.dtype != torch.float32 or not torch.backends.mkldnn.is_available():
        return F.linear(x, weight) if before is None else before.addmm_(x, weight.t())
    multiply = torch.ops.mkldnn._linear_pointwise
    out: Tensor
    if before is None:
        out = multiply(x, weight, None, "none", [], "")
    else:
        out = multiply.binary(x, before, weight, None, "add")
    return out


def _weight_grad(x: Tensor, across: Tensor | None, grad: Tensor) -> Tensor:
    """grad^T x; `across` is x^T where it is the smaller of the two to turn."""
    if x.dtype == torch.float32:
        return grad.t() @ x
    if across is not None:
        return kernels.transposed(across @ grad)
    return kernels.transposed(grad) @ x


class _TreeAttention(torch.autograd.Function):
    """The probabilities are computed again for the gradient: from q and k, they cost less than their way to memory."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, forest: Forest) -> Tensor:
        out, norms = kernels.tree_attention(q, k, v, forest.starts, forest.ends)
        ctx.save_for_backward(q, k, v, out, norms)
        ctx.forest = forest
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        forest: Forest = ctx.forest
        q, k, v, out, norms = ctx.saved_tensors
        back = kernels.tree_attention_backward(grads[0], q, k, v, out, norms, forest.starts, forest.ends)
        return *back, None
