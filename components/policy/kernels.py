"""The compiled inner loops of `kernels.cpp`: norm, gated unit, attention over cache and trees, sampling.

Takes tensors on the CPU. The library is built when the project is installed and a C++ compiler is at hand; where there
is none, `usable` is False and the callers' torch forms, which the tests hold these loops to, do the same work slower.
Nothing here is differentiable; where training needs a gradient, it is a function of its own. Threads are those of
torch: both use the OpenMP runtime that torch brings.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

_NAMES = {torch.bfloat16: "bfloat16", torch.float32: "float32"}


@cache
def _library() -> ctypes.CDLL | None:
    built = sorted(Path(__file__).parent.glob("_kernels*.so"))
    try:
        return ctypes.CDLL(str(built[0])) if built else None
    except OSError:  # built for another machine
        return None


def usable(like: Tensor) -> bool:
    """Whether the compiled loops work on tensors of this kind here."""
    return like.device.type == "cpu" and like.dtype in _NAMES and _library() is not None


def _call(name: str, like: Tensor, *arguments: object) -> None:
    getattr(_library(), f"{name}_{_NAMES[like.dtype]}")(*arguments)


def _at(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def norm(x: Tensor, eps: float) -> Tensor:
    """x / rms(x) over the last dimension. x [N, hidden]"""
    x = x.contiguous()
    out = torch.empty_like(x)
    count, width = x.numel() // x.shape[-1], x.shape[-1]
    _call("norm", x, _at(x), _at(out), ctypes.c_int64(count), ctypes.c_int64(width), ctypes.c_float(eps))
    return out


def scaled_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    """x / rms(x) * gain over the last dimension. x [N, hidden]"""
    x, gain = x.contiguous(), gain.contiguous()
    out = torch.empty_like(x)
    sizes = (ctypes.c_int64(x.shape[0]), ctypes.c_int64(x.shape[1]))
    _call("scaled_norm", x, _at(x), _at(gain), _at(out), *sizes, ctypes.c_float(eps))
    return out


def scaled_norm_backward(grad: Tensor, x: Tensor, gain: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Gradients of `scaled_norm` for x [N, hidden] and, in fp32, for its gain [hidden]."""
    grad, x, gain = grad.contiguous(), x.contiguous(), gain.contiguous()
    grad_x, grad_gain = torch.empty_like(x), torch.empty(x.shape[1], dtype=torch.float32, device=x.device)
    sizes = (ctypes.c_int64(x.shape[0]), ctypes.c_int64(x.shape[1]))
    tensors = [_at(tensor) for tensor in (grad, x, gain, grad_x, grad_gain)]
    _call("scaled_norm_backward", x, *tensors, *sizes, ctypes.c_float(eps))
    return grad_x, grad_gain


def transposed(x: Tensor) -> Tensor:
    """x^T, contiguous (torch copies a transposed matrix many times slower). x [N, M]"""
    x = x.contiguous()
    out = x.new_empty(x.shape[1], x.shape[0])
    _call("transpose", x, _at(x), _at(out), ctypes.c_int64(x.shape[0]), ctypes.c_int64(x.shape[1]))
    return out


def gated(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up, of two tensors of one shape."""
    gate, up = gate.contiguous(), up.contiguous()
    out = torch.empty_like(gate)
    _call("gated", gate, _at(gate), _at(up), _at(out), ctypes.c_int64(gate.numel()))
    return out


def gated_backward(grad: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of `gated` for gate and up."""
    grad, gate, up = grad.contiguous(), gate.contiguous(), up.contiguous()
    grad_gate, grad_up = torch.empty_like(gate), torch.empty_like(up)
    tensors = [_at(tensor) for tensor in (grad, gate, up, grad_gate, grad_up)]
    _call("gated_backward", gate, *tensors, ctypes.c_int64(gate.numel()))
    return grad_gate, grad_up


def attend(
    qkv: Tensor, cos: Tensor, sin: Tensor, keys: Tensor, values: Tensor, rows: Tensor, positions: Tensor
) -> Tensor:
    """Rotary embedding, cache write and grouped-query attention of new tokens over their rows. Gives [N, heads * D].

    qkv [N, heads + 2 * kv_heads, D]; cos, sin [max_positions, D], sin with the rotation's sign in it; keys, values
    [rows, width, kv_heads, D], changed; rows, positions [N] int64: the cell of each new token. The cells before it in
    its row hold its past, or are new tokens as well.
    """
    qkv = qkv.contiguous()
    kv_heads, dim, width = keys.shape[2], keys.shape[3], keys.shape[1]
    heads = qkv.shape[1] - 2 * kv_heads
    out = qkv.new_empty(len(qkv), heads * dim)
    tensors = [_at(tensor) for tensor in (qkv, cos, sin, keys, values, rows, positions)]
    _call("attend", qkv, *tensors, *map(ctypes.c_int64, (len(qkv), heads, kv_heads, dim, width)), _at(out))
    return out


def tree_attention(q: Tensor, k: Tensor, v: Tensor, starts: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """Grouped-query attention along prefix trees: (mixed values like q, log of each row's sum of exponentials in fp32).

    q [N, heads, D]; k, v [N, kv_heads, D]; starts [trees + 1] int64: first node of each tree, then N; ends [N] int64:
    first node after each node's descendants.
    """
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    out, norms = torch.empty_like(q), torch.empty(q.shape[:2], dtype=torch.float32, device=q.device)
    sizes = map(ctypes.c_int64, (len(starts) - 1, q.shape[1], k.shape[1], q.shape[2]))
    tensors = [_at(tensor) for tensor in (q, k, v, starts, ends)]
    _call("tree_forward", q, *tensors, *sizes, _at(out), _at(norms))
    return out, norms


def tree_attention_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, norms: Tensor, starts: Tensor, ends: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `tree_attention` for q, k and v, from what it gave."""
    grad, q, k, v = grad.contiguous(), q.contiguous(), k.contiguous(), v.contiguous()
    grads = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    sizes = map(ctypes.c_int64, (len(starts) - 1, q.shape[1], k.shape[1], q.shape[2]))
    tensors = [_at(tensor) for tensor in (grad, q, k, v, out, norms, starts, ends)]
    _call("tree_backward", q, *tensors, *sizes, *map(_at, grads))
    return grads


def sample(logits: Tensor, temperatures: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """(tokens [N] int64, log-probabilities [N] fp32 under temperature 1); see `sampling.sample`."""
    logits = logits.contiguous()
    temperatures, uniform = temperatures.float().contiguous(), uniform.float().contiguous()
    tokens = torch.empty(len(logits), dtype=torch.int64, device="cpu")
    logprobs = torch.empty(len(logits), dtype=torch.float32, device="cpu")
    sizes = map(ctypes.c_int64, logits.shape)
    _call("sample", logits, _at(logits), _at(temperatures), _at(uniform), *sizes, _at(tokens), _at(logprobs))
    return tokens, logprobs
