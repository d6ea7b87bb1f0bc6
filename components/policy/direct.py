"""The base model asked plainly: its own answers, and the likelihood of references. Frozen scorer of curation and RL.

Takes prompts, or prompts with tool results and references; gives texts or mean log-probabilities. Shows no tools.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from components.policy.backend import Backend
from components.policy.load import load_policy
from components.policy.settings import PolicySettings
from components.policy.turn import GenerateRequest, ScoreRequest
from components.schema.problem import Reference

Ask = Callable[[Sequence[str]], Sequence[str]]
ScoreReference = Callable[[Sequence[tuple[str, Sequence[str], Reference]]], Sequence[float]]


SCORED_AT_ONCE = 384
"""References that may share what they have in common, before it is told how far the scoring is."""
FLOOR = -10.0
"""Per-token log-probabilities are clipped here: one bad token must not dominate (learning.md 5.3)."""


def mean_logprob(logprobs: Sequence[float]) -> float:
    """Mean of the clipped log-probabilities of the answer span's tokens.

    Raises:
        ValueError: there is no token.
    """
    if not logprobs:
        raise ValueError("the reference has no scored token")
    return sum(max(FLOOR, value) for value in logprobs) / len(logprobs)


def first_sentence(text: str) -> str:
    """The first sentence of an answer cut at a token limit; the whole text when it has no sentence end."""
    flat = " ".join(text.split())
    for mark in (". ", "! ", "? "):
        head, found, _ = flat.partition(mark)
        if found and len(head) > 3:
            flat = head + mark.strip()
    return flat


def ask_of(policy: Backend, *, max_answer_tokens: int = 28) -> Ask:
    """Greedy first sentences under `policy`, no tool shown."""

    def ask(prompts: Sequence[str]) -> Sequence[str]:
        unique = sorted(set(prompts), key=lambda prompt: (len(prompt), prompt))
        requests = [
            GenerateRequest(policy.chat.prompt_ids(prompt, ()), (), max_answer_tokens=max_answer_tokens)
            for prompt in unique
        ]
        answers = {
            prompt: first_sentence(action.message.content)
            for prompt, action in zip(unique, policy.generate(requests), strict=True)
        }
        return [answers[prompt] for prompt in prompts]

    return ask


def span_request(
    policy: Backend, prompt: str, results: Sequence[str], reference: Reference
) -> tuple[ScoreRequest, int]:
    """What to score, and how many tokens at its end belong to the answer span."""
    shown = "\n".join([*results, prompt]) if results else prompt
    before, _, _ = reference.text.partition(reference.answer)
    context = policy.chat.prompt_ids(shown, ()) + policy.chat.encode(before.rstrip())
    gap = " " if before and before != before.rstrip() else ""
    span = policy.chat.encode(gap + reference.answer)
    return ScoreRequest(context + span, start=len(context)), len(span)


def score_reference_of(policy: Backend, told: Callable[[int, int], None] = lambda done, total: None) -> ScoreReference:
    """Mean clipped log-probability of the answer span inside the reference, given question and tool results.

    `told`: how many of how many are done, when it begins and now and then.

    Of equal items one is scored: under a search engine most calls of a group bring back the same page. Nothing is
    remembered between calls: in bf16 a value depends a little on what is scored beside it, and a run that was killed
    and goes on must see what an uninterrupted one sees.
    """

    def score(items: Sequence[tuple[str, Sequence[str], Reference]]) -> Sequence[float]:
        keys = [(prompt, tuple(results), reference.text) for prompt, results, reference in items]
        distinct = dict(zip(keys, items, strict=True))
        requests = [span_request(policy, *item)[0] for item in distinct.values()]
        scored: list[tuple[float, ...]] = []
        for at in range(0, len(requests), SCORED_AT_ONCE):
            told(at, len(requests))
            scored += policy.score(requests[at : at + SCORED_AT_ONCE])
        means = dict(zip(distinct, map(mean_logprob, scored), strict=True))
        return [means[key] for key in keys]

    return score


def make_ask(folder: Path, settings: PolicySettings) -> Ask:
    """`ask_of` the model in `folder`."""
    return ask_of(load_policy(folder, settings))


def make_score_reference(folder: Path, settings: PolicySettings) -> ScoreReference:
    """`score_reference_of` the model in `folder`."""
    return score_reference_of(load_policy(folder, settings))
