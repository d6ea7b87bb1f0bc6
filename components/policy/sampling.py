"""Cheap sampling. Takes logits and uniform numbers; gives tokens with log-probabilities. Owns no generator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


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
    """Greedy where temperature is 0, else inverse-CDF sampling (cumulative sum + search: 20x `multinomial` on CPUs).

    logits [N, vocabulary]; temperatures [N]; uniform [N] in [0, 1).
    """
    logits = logits.float()
    logsumexp = logits.logsumexp(-1)
    tokens = logits.argmax(-1)
    hot = (temperatures > 0).nonzero().squeeze(1)
    if len(hot):
        scaled = (logits[hot] / temperatures[hot, None]).softmax(-1).cumsum(-1)
        drawn = torch.searchsorted(scaled, (uniform[hot, None] * scaled[:, -1:]).contiguous(), right=True).squeeze(1)
        tokens[hot] = drawn.clamp_(max=logits.shape[1] - 1)
    chosen = logits.gather(1, tokens[:, None]).squeeze(1)
    return Sampled(tokens=tokens, logprobs=chosen - logsumexp)
