"""The compiled inner loops of `kernels.cpp`: RMS norm, attention over the cache, sampling. Takes tensors on the CPU.

The library is built when the project is installed and a C++ compiler is at hand; where there is none, `usable` is False
and the callers' torch forms, which the tests hold these loops to, do the same work slower. Nothing here is
differentiable. Threads are those of torch: both use the OpenMP runtime that torch brings.
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


def sample(logits: Tensor, temperatures: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """(tokens [N] int64, log-probabilities [N] fp32 under temperature 1); see `sampling.sample`."""
    logits = logits.contiguous()
    temperatures, uniform = temperatures.float().contiguous(), uniform.float().contiguous()
    tokens = torch.empty(len(logits), dtype=torch.int64, device="cpu")
    logprobs = torch.empty(len(logits), dtype=torch.float32, device="cpu")
    sizes = map(ctypes.c_int64, logits.shape)
    _call("sample", logits, _at(logits), _at(temperatures), _at(uniform), *sizes, _at(tokens), _at(logprobs))
    return tokens, logprobs
