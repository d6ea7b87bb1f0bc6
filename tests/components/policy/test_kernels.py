"""The compiled loops: they are built where they can be, and agree with torch on every shape and in both types."""

from __future__ import annotations

import random
import shutil

import pytest
import torch
from tiny_models import tiny_llama
from torch import Tensor

from components.policy import cache_attention, kernels, llama
from components.policy.llama import normalise
from components.policy.prefix_tree import plant
from components.policy.sampling import sample
from components.training.differentiable import gated_unit, rms_norm, tree_attention

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


def _leaf(*shape: int, seed: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype).requires_grad_()


def _agree(ours: Tensor, theirs: Tensor, inputs: list[Tensor], tolerance: float) -> bool:
    """Whether values and the gradients of all inputs agree."""
    weights = torch.randn(ours.shape, generator=torch.Generator().manual_seed(9)).to(ours.dtype)
    values = torch.allclose(ours.float(), theirs.float(), atol=tolerance, rtol=tolerance)
    grads = (torch.autograd.grad((out * weights).sum(), inputs, retain_graph=True) for out in (ours, theirs))
    return values and all(
        torch.allclose(one.float(), other.float(), atol=4 * tolerance, rtol=4 * tolerance)
        for one, other in zip(*grads, strict=True)
    )


@built
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_norm_that_training_uses_has_the_gradients_of_autograd(dtype: torch.dtype) -> None:
    x, gain = _leaf(7, 96, seed=0, dtype=dtype), _leaf(96, seed=1, dtype=dtype)
    slow = x.float() * (x.float().square().mean(-1, keepdim=True) + 1e-5).rsqrt() * gain.float()
    assert _agree(rms_norm(x, gain, 1e-5), slow.to(dtype), [x, gain], TOLERANCE[dtype])


@built
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_gated_unit_has_the_gradients_of_autograd(dtype: torch.dtype) -> None:
    gate, up = _leaf(5, 33, seed=0, dtype=dtype), _leaf(5, 33, seed=1, dtype=dtype)
    with torch.no_grad():
        gate[0, :4] = torch.tensor([-200.0, -20.0, 20.0, 200.0])
    slow = torch.nn.functional.silu(gate.float()) * up.float()
    assert _agree(gated_unit(gate, up), slow.to(dtype), [gate, up], TOLERANCE[dtype])


@built
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("heads", "kv_heads", "dim"), [(9, 3, 64), (4, 2, 16), (2, 2, 64), (6, 1, 32)])
@pytest.mark.parametrize("limit", [1024, 12])
def test_attention_along_trees_and_its_gradients_are_torchs(
    dtype: torch.dtype, heads: int, kv_heads: int, dim: int, limit: int
) -> None:
    draw = random.Random(0)
    trunk = [draw.randrange(50) for _ in range(40)]
    sequences = [[*trunk[:cut], *(draw.randrange(50) for _ in range(extra))] for cut, extra in
                 ((40, 30), (40, 3), (20, 9), (20, 1), (0, 70), (0, 1))]  # fmt: skip
    forest = plant(sequences, limit=limit)
    nodes = len(forest.ids)
    q = _leaf(nodes, heads, dim, seed=1, dtype=dtype)
    k, v = (_leaf(nodes, kv_heads, dim, seed=seed, dtype=dtype) for seed in (2, 3))
    wide = [t.float().repeat_interleave(heads // t.shape[1], dim=1) for t in (q, k, v)]
    queries, keys, values = (forest.pad(t).transpose(1, 2) for t in wide)
    scores = queries @ keys.transpose(2, 3) / dim**0.5 + forest.mask(torch.float32).unsqueeze(1)
    slow = forest.flat((scores.softmax(-1) @ values).transpose(1, 2)).flatten(1)
    assert _agree(tree_attention(q, k, v, forest), slow.to(dtype), [q, k, v], TOLERANCE[dtype])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "usable", lambda like: False)
        assert _agree(tree_attention(q, k, v, forest), slow.to(dtype), [q, k, v], 2 * TOLERANCE[dtype])


@built
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (8, 8), (33, 47), (64, 96), (100, 40)])
def test_a_matrix_is_turned_to_the_letter(dtype: torch.dtype, shape: tuple[int, int]) -> None:
    x = torch.randn(shape).to(dtype)
    assert torch.equal(kernels.transposed(x), x.t())
