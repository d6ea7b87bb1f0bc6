"""The base model asked plainly: first sentences, and the likelihood of a reference's answer span."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from tiny_models import chat, tiny_policy

from components.policy import direct
from components.policy.direct import ask_of, first_sentence, mean_logprob, score_reference_of, span_request
from components.policy.policy import Policy
from components.schema.problem import Reference

REFERENCE = Reference("The capital of Chad is N'Djamena.", "N'Djamena")


@cache
def policy() -> Policy:
    return tiny_policy()


def test_a_first_sentence_ends_at_its_mark() -> None:
    assert first_sentence("It is Bamako. It lies on the Niger.") == "It is Bamako."
    assert first_sentence("It is\nBamako") == "It is Bamako"


def test_equal_prompts_get_equal_answers_in_the_order_asked() -> None:
    answers = ask_of(policy())(["b?", "What is it?", "b?"])
    assert len(answers) == 3
    assert answers[0] == answers[2]
    assert answers == ask_of(policy())(["b?", "What is it?", "b?"])


def test_the_scored_span_is_the_answer_alone() -> None:
    request, length = span_request(policy(), "What is it?", ["Chad: N'Djamena"], REFERENCE)
    assert chat().decode(request.ids[-length:]) == " N'Djamena"
    assert request.start == len(request.ids) - length
    assert chat().decode(request.ids[: request.start]).endswith("The capital of Chad is")


@torch.no_grad()
def test_a_reference_is_scored_as_the_mean_logprob_of_its_span() -> None:
    request, length = span_request(policy(), "What is it?", ["Chad: N'Djamena"], REFERENCE)
    logprobs = policy().model(torch.tensor([request.ids])).logits[0].log_softmax(-1)
    places = range(len(request.ids) - length, len(request.ids))
    slow = sum(max(-10.0, float(logprobs[p - 1, request.ids[p]])) for p in places) / length
    score = score_reference_of(policy())
    items = [("What is it?", ["Chad: N'Djamena"], REFERENCE), ("What is it?", [], REFERENCE)]
    assert score(items)[0] == pytest.approx(slow, abs=1e-4)
    assert score(items[::-1])[1] == score(items)[0]


def test_many_references_are_scored_in_parts_and_it_is_told_how_far(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [(f"What is {number}?", [f"Chad: {number}"] * (number % 2), REFERENCE) for number in range(7)]
    whole = score_reference_of(policy())(items)
    monkeypatch.setattr(direct, "SCORED_AT_ONCE", 3)
    told: list[tuple[int, int]] = []
    parts = score_reference_of(policy(), lambda done, total: told.append((done, total)))(items)
    assert parts == pytest.approx(whole, abs=1e-4)
    assert told == [(0, 7), (3, 7), (6, 7)]


def test_a_reference_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="no scored token"):
        mean_logprob([])
