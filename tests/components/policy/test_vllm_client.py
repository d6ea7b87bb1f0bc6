"""The vLLM client beyond the contract: how it draws, what it asks, and what it says when the server fails."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import byte_tokenizer, chat, leaning_llama, specs_of, tiny_llama, tokenizer
from vllm_double import VllmDouble, serving

from components.policy.load import open_backend, save_model, served_name
from components.policy.settings import PolicySettings
from components.policy.turn import GenerateRequest, ScoreRequest
from components.policy.vllm_client import VllmClient
from components.policy.vllm_server import ServerFailed, served_models
from components.records.manifest import BadModelFolder, write_manifest
from components.schema.trajectory import ANSWER, StopReason

NAMES = ("search", "python", "delegate")


@pytest.fixture(scope="module")
def model() -> Any:
    return leaning_llama()


@pytest.fixture
def double(model: Any) -> Iterator[VllmDouble]:
    with serving(VllmDouble(model)) as double:
        yield double


def _client(double: VllmDouble, *, timeout: float = 60.0) -> VllmClient:
    return VllmClient(
        tokenizer(),
        url=double.url,
        model=double.name,
        vocabulary=int(double._model.config.vocab_size),
        capacity=double.length,
        slots=4,
        policy_id="served",
        timeout=timeout,
    )


def _request(names: tuple[str, ...] = NAMES, **changes: Any) -> GenerateRequest:
    specs = specs_of(names)
    request = GenerateRequest(chat().prompt_ids("What is the capital of Chad?", specs), specs, max_answer_tokens=4)
    return replace(request, **changes)


def test_a_drawn_answer_follows_the_models_probabilities_given_that_no_call_opens(double: VllmDouble) -> None:
    request, opens = _request(decision=ANSWER, answer_temperature=1.0, max_answer_tokens=1), chat().call_opening[0]
    with torch.no_grad():
        probs = double._model(torch.tensor([request.context_ids])).logits[0, -1].softmax(-1)
    likely = int(probs.index_fill(0, torch.tensor([opens]), 0.0).argmax())
    expected = float(probs[likely] / (1 - probs[opens]))
    assert 0.2 < float(probs[opens]) < 0.9, "the model of this test must often want to call"
    actions = _client(double).generate([replace(request, seed=seed) for seed in range(80)])
    first = [(action.message.token_ids or (-1,))[0] for action in actions]
    assert opens not in first
    assert abs(first.count(likely) / len(first) - expected) < 0.17
    redrawn = [body for body in double.asked if "logit_bias" in body]
    assert abs(len(redrawn) / len(first) - float(probs[opens])) < 0.17, "only rejected drafts are drawn again"


def test_the_generation_settings_of_the_served_folder_do_not_count(double: VllmDouble) -> None:
    _client(double).generate([_request(names=())])
    (asked,) = double.asked
    plain = {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "ignore_eos": True}
    assert plain.items() <= asked.items()


def test_a_turn_is_cancelled_while_the_server_writes_it(double: VllmDouble) -> None:
    double.hold.clear()
    (action,) = _client(double).generate([_request(decision=ANSWER, cancelled=double.arrived)])
    assert action.stop is StopReason.CANCELLED


def test_more_conversations_than_slots_take_their_turns(double: VllmDouble) -> None:
    client = _client(double)
    assert len(client.score([ScoreRequest((1, 2, 3 + k), 1) for k in range(11)])) == 11


def _without(key: str) -> Callable[[Any], Any]:
    def garbled(reply: Any) -> Any:
        for choice in reply["choices"]:
            del choice[key]
        return reply

    return garbled


def _changed(**changes: Any) -> Callable[[Any], Any]:
    return lambda reply: {**reply, "choices": [{**choice, **changes} for choice in reply["choices"]]}


@pytest.mark.parametrize(
    ("garble", "reason"),
    [
        (b"<html>busy</html>", "the reply is not JSON"),
        ({"error": "oops"}, "the reply is not vLLM's: choices: Field required"),
        ({"choices": []}, "0 choices for 1 prompts"),
        (_without("token_ids"), r"choices\.0\.token_ids: Field required"),
        (_changed(token_ids=[1, 2], logprobs={"token_logprobs": [0.0]}), "2 tokens and 1 log-probabilities"),
        (_changed(token_ids=[], logprobs={"token_logprobs": []}), "0 tokens"),
    ],
)
def test_a_reply_that_cannot_be_used_is_told_with_address_and_request(
    double: VllmDouble, garble: Any, reason: str
) -> None:
    double.garble = garble
    with pytest.raises(ServerFailed, match=f"{double.url}/v1/completions, request 0: .*{reason}"):
        _client(double).generate([_request(decision=ANSWER)])


def test_missing_prompt_logprobs_are_told(double: VllmDouble) -> None:
    double.garble = _changed(prompt_logprobs=[None])
    with pytest.raises(ServerFailed, match="request 0: the reply lacks log-probabilities of the prompt's tokens"):
        _client(double).score([ScoreRequest((1, 2, 3), 1)])


def test_what_the_server_refuses_is_told_in_its_words(double: VllmDouble) -> None:
    client = _client(double)
    double.length = 8
    with pytest.raises(ServerFailed, match=r"request 0: HTTP 400: .*the prompt has"):
        client.generate([_request(decision=ANSWER)])


def test_a_server_that_does_not_answer_is_given_up(double: VllmDouble) -> None:
    double.hold.clear()
    with pytest.raises(ServerFailed, match=r"request 0: no answer within 0\.05 s"):
        _client(double, timeout=0.05).decide([_request()])


def test_a_server_that_is_down_is_told(model: Any) -> None:
    with serving(VllmDouble(model)) as gone:
        client = _client(gone)
    for ask in (lambda: client.score([ScoreRequest((1, 2), 1)]), lambda: served_models(gone.url, timeout=1.0)):
        with pytest.raises(ServerFailed, match=f"{gone.url}/v1/.*cannot be reached"):
            ask()


def _folder(folder: Path, seed: int) -> Path:
    letters = byte_tokenizer()
    save_model(tiny_llama(seed, vocabulary=len(letters), layers=1), letters, folder)
    write_manifest(folder)
    return folder


def test_the_server_must_serve_the_weights_of_the_folder(tmp_path: Path) -> None:
    folder, newer = _folder(tmp_path / "final", 1), _folder(tmp_path / "newer", 2)
    served = VllmDouble(tiny_llama(1, vocabulary=257, layers=1), name=served_name(folder))
    with serving(served):
        settings = PolicySettings(backend="vllm", vllm_url=served.url)
        backend = open_backend(folder, settings, policy_id="mine")
        assert isinstance(backend, VllmClient)
        assert backend.policy_id == "mine"
        assert len(backend.score([ScoreRequest((1, 2, 3), 1)])[0]) == 2
        with pytest.raises(ServerFailed, match=f"vllm serve {newer} --served-model-name {served_name(newer)}"):
            open_backend(newer, settings)
    (folder / "MANIFEST.json").write_text(json.dumps({}))
    with pytest.raises(BadModelFolder):
        open_backend(folder, settings)
