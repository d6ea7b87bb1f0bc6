"""Cheap sampling. Takes logits and uniform numbers; gives tokens with log-probabilities. Owns no generator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from components.policy import kernels


@dataclass(frozen=True, slots=True)
class Sampled:
    """One token a row."""

    tokens: Tensor
    """[N] int64"""
    logprobs: Tensor
    """[N] natural log under temperature 1, before any grammar mask."""


def uniforms(seed: int, count: int) -> np.ndarray:
    """`count` uniform numbers of a request: they depend on its seed alone, so on nothing else in the batch."""
    return np.random.Generator(np.random.PCG64(seed)).random(count)


def sample(logits: Tensor, *, temperatures: Tensor, uniform: Tensor) -> Sampled:
    """Greedy where temperature is 0, else inverse-CDF sampling, in two levels: first a block of tokens, then one of it.

    logits [N, vocabulary]; temperatures [N]; uniform [N] in [0, 1). Few passes over the logits: `multinomial` takes 20
    times as long on CPUs, and a cumulative sum over the whole vocabulary about as long as all the rest here. A row that
    holds a NaN, or nothing but -inf, gives a NaN log-probability.
    """
    if kernels.usable(logits):
        return Sampled(*kernels.sample(logits, temperatures, uniform))
    best, tokens = logits.max(-1)
    shifted = logits.float() - best.float()[:, None]
    weights = shifted.exp()
    sums = _blocks(weights).sum(-1)
    log_total = sums.sum(-1).log()
    hot = temperatures > 0
    plain = (hot & (temperatures == 1)).nonzero().squeeze(1)
    if len(plain):
        tokens[plain] = _draw(weights[plain], sums[plain], uniform[plain])
    heated = (hot & (temperatures != 1)).nonzero().squeeze(1)
    if len(heated):
        changed = (shifted[heated] / temperatures[heated, None]).exp()
        tokens[heated] = _draw(changed, _blocks(changed).sum(-1), uniform[heated])
    chosen = shifted.gather(1, tokens[:, None]).squeeze(1)
    return Sampled(tokens=tokens, logprobs=chosen - log_total)


_BLOCK = 128


def _blocks(weights: Tensor) -> Tensor:
    """[N, vocabulary] -> [N, blocks, 128], padded with zeros"""
    missing = -weights.shape[1] % _BLOCK
    whole = F.pad(weights, (0, missing)) if missing else weights
    return whole.view(len(whole), -1, _BLOCK)


def _draw(weights: Tensor, sums: Tensor, uniform: Tensor) -> Tensor:
    """The token where the cumulative weight passes `uniform` of the whole; never one of weight zero."""
    running = sums.cumsum(-1)
    target = _below(uniform[:, None] * running[:, -1:], running[:, -1:])
    block = torch.searchsorted(running, target, right=True).clamp_(max=running.shape[1] - 1)
    before = running.gather(1, block) - sums.gather(1, block)
    rows = torch.arange(len(weights), device=weights.device)
    inner = _blocks(weights)[rows, block.squeeze(1)].cumsum(-1)
    place = torch.searchsorted(inner, _below((target - before).clamp_(min=0.0), inner[:, -1:]), right=True)
    token: Tensor = (block * _BLOCK + place).squeeze(1).clamp_(max=weights.shape[1] - 1)
    return token


def _below(value: Tensor, bound: Tensor) -> Tensor:
    """`value`, or the next number under `bound` where rounding took it there."""
    least: Tensor = torch.minimum(value, torch.nextafter(bound, torch.zeros_like(bound)))
    return least.contiguous()
