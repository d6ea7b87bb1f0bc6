"""The compiled loops: they are built where they can be, and agree with torch on every shape and in both types."""

from __future__ import annotations

import shutil

import pytest
import torch
from tiny_models import tiny_llama
from torch import Tensor

from components.policy import cache_attention, kernels, llama
from components.policy.llama import normalise
from components.policy.sampling import sample

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
built = pytest.mark.skipif(not kernels.usable(torch.zeros(1)), reason="no C++ compiler was at hand at installation")


def test_where_there_is_a_compiler_the_loops_are_built() -> None:
    built_or_nobody_could = kernels.usable(torch.zeros(1)) or shutil.which("g++") is None
    assert built_or_nobody_could, "installing again (`make setup`) builds components/policy/kernels.cpp"
    assert not kernels.usable(torch.zeros(1, dtype=torch.float64))


@built
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [(1, 5), (3, 64), (2, 4, 576)])
def test_the_norm_is_torchs(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype) * 3
    exact = x.double() / (x.double().square().mean(-1, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(kernels.norm(x, 1e-5).double(), exact, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    assert torch.allclose(normalise(x, 1e-5).double(), exact, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def _heads(count: int, heads: int, dim: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(count, heads, dim, generator=torch.Generator().manual_seed(count)).to(dtype)


@built
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("heads", "kv_heads", "dim"), [(9, 3, 64), (4, 2, 16), (4, 4, 128), (6, 1, 64)])
@torch.no_grad()
def test_attention_and_the_cache_it_writes_are_torchs(dtype: torch.dtype, heads: int, kv_heads: int, dim: int) -> None:
    model = tiny_llama(0, layers=1, vocabulary=50, shape=(heads, kv_heads, dim)).to(dtype)
    weights = llama.pack(model)
    caches = [[torch.zeros(4, 24, kv_heads, dim, dtype=dtype) for _ in range(2)] for _ in range(2)]
    for rows, starts, counts in (([0, 1, 3], [0, 0, 0], [7, 1, 3]), ([3, 0], [3, 7], [4, 1]), ([1], [1], [1])):
        read = _heads(sum(counts), heads + 2 * kv_heads, dim, dtype)
        outputs = []
        for form, (keys, values) in zip(
            (cache_attention.CompiledAttention, cache_attention.TorchAttention), caches, strict=True
        ):
            attend = form(rows, starts, counts, weights)
            attend.keys, attend.values = keys, values
            outputs.append(attend(read).float())
        assert torch.allclose(*outputs, atol=TOLERANCE[dtype])
    for one, other in zip(*caches, strict=True):
        assert torch.allclose(one.float(), other.float(), atol=TOLERANCE[dtype])


@built
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_sampling_draws_what_torch_draws(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = torch.Generator().manual_seed(4)
    logits = (torch.randn(64, 5000, generator=draw) * 4).to(dtype)
    heat, uniform = torch.tensor([0.0, 1.0, 0.5, 1.7] * 16), torch.rand(64, generator=draw)
    compiled = sample(logits, temperatures=heat, uniform=uniform)
    monkeypatch.setattr(kernels, "usable", lambda like: False)
    slow = sample(logits, temperatures=heat, uniform=uniform)
    same = compiled.tokens == slow.tokens
    assert int(same.sum()) >= 62, "rounding may move a draw that falls between two tokens"
    assert torch.allclose(compiled.logprobs[same], slow.logprobs[same], atol=1e-4)


@built
def test_logits_that_are_not_numbers_show_in_the_log_probability() -> None:
    logits = torch.zeros(3, 300)
    logits[0, 7], logits[1] = float("nan"), -torch.inf
    drawn = sample(logits, temperatures=torch.tensor([1.0, 1.0, 0.0]), uniform=torch.full((3,), 0.5))
    assert drawn.logprobs.isnan().tolist() == [True, True, False]
