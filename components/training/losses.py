"""The losses of a step. Takes a causal LM and examples; gives scalar losses ready for `backward`.

The decision, argument and answer losses are averaged apart (learning.md 5.3 stage 1): one decision token among thirty
others would be diluted. Logits are computed only where a token is learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from components.policy.decision import log_answer, log_none
from components.policy.model_type import CausalLM
from components.policy.tree_forward import States
from components.training.examples import Example
from components.training.forward import hidden_states


@dataclass(frozen=True, slots=True)
class Denominators:
    """Over how much each loss of a whole step is averaged (a step runs in several passes)."""

    decisions: int
    arguments: int
    answers: int


def denominators(examples: Sequence[Example]) -> Denominators:
    """Counts over the step, at least 1 each."""
    return Denominators(
        decisions=max(1, sum(len(e.calls) + len(e.stays) for e in examples)),
        arguments=max(1, sum(len(e.arguments) for e in examples)),
        answers=max(1, sum(len(e.answers) for e in examples)),
    )


def logits_before(model: CausalLM, states: States, places: Sequence[tuple[int, int]]) -> Tensor:
    """fp32 logits [P, vocabulary] that predict the token at each (sequence, position); shared ones are made once."""
    nodes, row = states.distinct([(sequence, position - 1) for sequence, position in places])
    logits: Tensor = model.get_output_embeddings()(states.nodes.index_select(0, nodes))
    return logits.float().index_select(0, row)


@dataclass(frozen=True, slots=True)
class StepLosses:
    """Sums of one pass already divided by the step's denominators."""

    decision: Tensor
    argument: Tensor
    answer: Tensor
    answer_logits: Tensor | None
    """[answer tokens of the pass, vocabulary], in example order; for a KL term."""


def imitation_losses(
    model: CausalLM, examples: Sequence[Example], counts: Denominators, *, call_token: int
) -> StepLosses:
    """Negative log-likelihoods of the marked targets. `call_token` is the first token of every call's opening.

    log P(answer) is bounded from below by log(1 - P(call_token)), exact when no answer begins with that token, which
    decoding guarantees. An example's `weight` multiplies its argument tokens: -A log pi, the policy gradient.
    """
    hidden = hidden_states(model, [e.ids for e in examples])
    calls = [(row, p) for row, e in enumerate(examples) for start, stop in e.calls for p in range(start, stop)]
    stays = [(row, p) for row, e in enumerate(examples) for p in e.stays]
    arguments = [(row, p) for row, e in enumerate(examples) for p in e.arguments]
    answers = [(row, p) for row, e in enumerate(examples) for p in e.answers]
    places = calls + stays + arguments + answers
    zero = hidden.nodes.sum() * 0.0
    if not places:
        return StepLosses(zero, zero, zero, None)
    logits = logits_before(model, hidden, places)
    firsts = {(row, p) for row, e in enumerate(examples) for p in e.firsts}
    logits, call_probability = without_calls(logits, places, firsts, call_token, stays, len(calls))
    targets = torch.tensor([examples[row].ids[p] for row, p in places], device=logits.device)
    logprobs = logits.log_softmax(-1).gather(1, targets[:, None]).squeeze(1)
    weights = torch.tensor([examples[row].weight for row, _ in arguments], device=logits.device)
    split = [len(calls), len(stays), len(arguments), len(answers)]
    call_lp, _, argument_lp, answer_lp = logprobs.split(split)
    decision = -call_lp.sum() - log_none(call_probability).sum()
    return StepLosses(
        decision=zero + decision / counts.decisions,
        argument=zero - (weights * argument_lp).sum() / counts.arguments,
        answer=zero - answer_lp.sum() / counts.answers,
        answer_logits=logits[len(places) - len(answers) :] if answers else None,
    )


def without_calls(
    logits: Tensor,
    places: Sequence[tuple[int, int]],
    firsts: set[tuple[int, int]],
    call_token: int,
    stays: Sequence[tuple[int, int]],
    first_stay: int,
) -> tuple[Tensor, Tensor]:
    """Logits with `call_token` struck out at first answer tokens, and P(call_token) at the stays before striking."""
    stay_logits = logits[first_stay : first_stay + len(stays)]
    probability = torch.exp(stay_logits[:, call_token] - stay_logits.logsumexp(-1))
    struck = torch.zeros_like(logits, dtype=torch.bool)
    rows = [index for index, place in enumerate(places) if place in firsts and index >= first_stay]
    struck[rows, call_token] = True
    return logits.masked_fill(struck, -1e9), probability


def decision_log_probs(
    model: CausalLM, contexts: Sequence[Sequence[int]], opening: Sequence[int], names: Sequence[Sequence[int]]
) -> Tensor:
    """log P over (answer, tool 1, ..., tool K) at each context, exact and differentiable. [N, 1 + K]

    P(tool k) is the likelihood of opening and name after the context; in the tree of all N x K sequences context and
    opening are computed once. Names must be prefix-free as tokens.
    """
    ends = [(*opening, *name) for name in names]
    sequences = [(*context, *end) for context in contexts for end in ends]
    places = [
        (number, len(ids) - len(end) + j)
        for number, (ids, end) in enumerate(zip(sequences, ends * len(contexts), strict=True))
        for j in range(len(end))
    ]
    logprobs = logits_before(model, hidden_states(model, sequences), places).log_softmax(-1)
    targets = torch.tensor([sequences[number][position] for number, position in places], device=logprobs.device)
    each = logprobs.gather(1, targets[:, None]).squeeze(1)
    tools = torch.stack([part.sum() for part in each.split([len(end) for end in ends] * len(contexts))])
    tools = tools.unflatten(0, (len(contexts), len(names)))
    return torch.cat([log_answer(tools)[:, None], tools], dim=1)
