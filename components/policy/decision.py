"""The decision at a state: P(tool k) is the likelihood of its opening, P(answer) the rest (DESIGN 4).

Takes log-probabilities of openings; gives a distribution over {answer, tool 1, ..., tool K}. Runs no model itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from components.schema.trajectory import ANSWER

LEAST = 1e-6
"""Floor of a probability inside a logarithm; keeps log P(answer) finite when every sum rounds to one."""


def opening_logprobs(
    logits: Tensor, opening: Sequence[int], names: Mapping[str, Sequence[int]]
) -> tuple[Tensor, Tensor]:
    """Log P(opening) [] and log P(first token of each name | opening) [K].

    logits [len(opening) + 1, vocabulary]: at the last context token and at every opening token.
    """
    logprobs = logits.float().log_softmax(-1)
    shared = logprobs[:-1].gather(1, torch.tensor(list(opening), device=logits.device)[:, None]).sum()
    first = logprobs[-1][torch.tensor([ids[0] for ids in names.values()], device=logits.device)]
    return shared, first


def probabilities(tool_logprobs: Mapping[str, float]) -> dict[str, float]:
    """P over answer and tools from the log-likelihoods of the tools' openings."""
    tools = {name: float(torch.tensor(logprob, device="cpu").exp()) for name, logprob in tool_logprobs.items()}
    return {ANSWER: max(0.0, 1.0 - sum(tools.values())), **tools}


def log_none(probability: Tensor) -> Tensor:
    """log(1 - P), finite and differentiable."""
    return torch.log((1.0 - probability).clamp_min(LEAST))


def log_answer(tool_logprobs_K: Tensor) -> Tensor:
    """log P(answer) = log(1 - sum_k P_k). [..., K] -> [...]"""
    return log_none(tool_logprobs_K.exp().sum(-1))


def choose(probs: Mapping[str, float], *, temperature: float, uniform: Callable[[], float]) -> str:
    """Argmax over decisions at temperature 0 (ties by order), else a sample of P^(1/temperature)."""
    names = list(probs)
    if temperature == 0:
        return max(names, key=lambda name: probs[name])
    weights = [probs[name] ** (1.0 / temperature) for name in names]
    threshold, running = uniform() * sum(weights), 0.0
    for name, weight in zip(names, weights, strict=True):
        running += weight
        if threshold < running:
            return name
    return names[-1]
