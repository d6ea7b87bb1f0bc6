"""The contract of `Backend`, held against every backend that can run here.

torch: the fast Llama forward, the recomputing session, and both on a GPU where there is one. vLLM: the client against a
local server that speaks vLLM's protocol, and against a real one when QANAT_TEST_VLLM_URL names it (it must serve a
local model folder with `--dtype float32`). The truth is always the plain Hugging Face module.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import httpx
import pytest
import torch
from tiny_models import SPECS, chat, leaning_llama, specs_of, tiny_other, tiny_policy, tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer
from vllm_double import VllmDouble, serving

from components.policy.backend import Backend
from components.policy.chat import Chat
from components.policy.floor import Talk
from components.policy.turn import GenerateRequest, ScoreRequest
from components.policy.vllm_client import VllmClient
from components.policy.vllm_server import served_models
from components.schema.arguments import check_arguments
from components.schema.message import Message
from components.schema.tool import ToolSpec
from components.schema.trajectory import ANSWER, Action, StopReason
from components.tools.grammar import parse_turn

NAMES = ("search", "python", "delegate")
PROMPTS = ("What is the capital of Chad?", "2+2?", "Who are you?")
REAL = os.environ.get("QANAT_TEST_VLLM_URL")
NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
NO_SERVER = pytest.mark.skipif(not REAL, reason="QANAT_TEST_VLLM_URL names no vLLM server")
NOTHING = ToolSpec(
    "nothing", "Has no valid argument.", {"type": "object", "properties": {"x": {"enum": []}}, "required": ["x"]}
)


@dataclass(frozen=True)
class Held:
    """A backend and the truth about it."""

    backend: Backend
    model: Any
    """The plain module, in fp32 on the processor."""
    capacity: int

    @property
    def chat(self) -> Chat:
        return self.backend.chat

    def request(self, prompt: str = PROMPTS[0], names: Sequence[str] = NAMES, **changes: Any) -> GenerateRequest:
        specs = specs_of(names)
        return replace(GenerateRequest(self.chat.prompt_ids(prompt, specs), specs, max_answer_tokens=6), **changes)

    @torch.no_grad()
    def logprobs(self, ids: Sequence[int]) -> list[float]:
        """Of every token after the first."""
        table = self.model(torch.tensor([list(ids)])).logits[0].double().log_softmax(-1)
        return [float(table[place, token]) for place, token in enumerate(ids[1:])]

    @torch.no_grad()
    def greedy(self, context: Sequence[int], count: int, *, first_not: Sequence[int] = ()) -> list[int]:
        """The plain module's greedy continuation, up to the end marker."""
        ids = list(context)
        while len(ids) < len(context) + count and ids[-1] != self.chat.end_id:
            logits = self.model(torch.tensor([ids])).logits[0, -1]
            if len(ids) == len(context):
                logits[list(first_not)] = -torch.inf
            ids.append(int(logits.argmax()))
        return ids[len(context) :]


def _torch(model: Any, *, device: str = "cpu") -> Held:
    policy = tiny_policy(model.to(device))
    return Held(policy, _plain(type(model).__name__), policy.capacity)


@cache
def _plain(kind: str) -> Any:
    return leaning_llama() if kind.startswith("Llama") else tiny_other("gpt_neox")


def _client(url: str, model: str, tokens: Any, *, vocabulary: int, capacity: int) -> VllmClient:
    return VllmClient(
        tokens, url=url, model=model, vocabulary=vocabulary, capacity=capacity, slots=8, policy_id="served"
    )


def _real() -> Held:
    assert REAL is not None
    ((name, capacity),) = served_models(REAL, timeout=10.0).items()
    root = httpx.get(f"{REAL}/v1/models").json()["data"][0]["root"]
    model = AutoModelForCausalLM.from_pretrained(root, dtype=torch.float32).eval()
    size = int(model.config.vocab_size)
    client = _client(REAL, name, AutoTokenizer.from_pretrained(root), vocabulary=size, capacity=capacity)
    return Held(client, model, capacity)


@pytest.fixture(
    scope="module",
    params=[
        "torch, fast",
        "torch, recomputing",
        pytest.param("torch, fast, cuda", marks=NO_GPU),
        pytest.param("torch, recomputing, cuda", marks=NO_GPU),
        "vllm",
        pytest.param("vllm, real", marks=NO_SERVER),
    ],
)
def held(request: pytest.FixtureRequest) -> Iterator[Held]:
    kind = request.param
    if kind == "vllm, real":
        yield _real()
    elif kind == "vllm":
        model = _plain("Llama")
        with serving(VllmDouble(model)) as double:
            size = int(model.config.vocab_size)
            yield Held(_client(double.url, double.name, tokenizer(), vocabulary=size, capacity=1024), model, 1024)
    else:
        model = leaning_llama() if "fast" in kind else tiny_other("gpt_neox")
        yield _torch(model, device="cuda" if "cuda" in kind else "cpu")


def _mixed(held: Held) -> list[GenerateRequest]:
    hot = {"temperature": 1.0, "answer_temperature": 0.8, "max_argument_tokens": 5}
    free = [held.request(p, seed=seed, decision_temperature=1.0, **hot) for seed, p in enumerate(PROMPTS)]
    forced = [held.request(decision=name, seed=k, **hot) for k, name in enumerate((*NAMES, ANSWER))]
    return [*free, *forced, held.request(PROMPTS[1], names=())]


def _same(one: Action, other: Action) -> bool:
    close = torch.allclose(torch.tensor(one.logprobs), torch.tensor(other.logprobs), atol=1e-4)
    return close and replace(one, logprobs=None, decision_probs=None) == replace(
        other, logprobs=None, decision_probs=None
    )


# Agreement with the plain model ---------------------------------------------------------------------------------------


def test_scores_are_the_plain_models(held: Held) -> None:
    sequences = [held.request(prompt).context_ids for prompt in PROMPTS]
    requests = [ScoreRequest(ids, start) for ids, start in zip(sequences, (1, 5, len(sequences[2]) - 1), strict=True)]
    for request, scores in zip(requests, held.backend.score(requests), strict=True):
        assert scores == pytest.approx(held.logprobs(request.ids)[request.start - 1 :], abs=1e-4)


def test_a_decision_is_the_likelihood_of_its_opening_and_the_answer_has_the_rest(held: Held) -> None:
    requests = [held.request(prompt, decision="search") for prompt in PROMPTS]
    for request, probs in zip(requests, held.backend.decide(requests), strict=True):
        expected = {}
        for spec in request.specs:
            opening = held.chat.call_opening + held.chat.encode(spec.name)
            logprobs = held.logprobs(request.context_ids + opening)[-len(opening) :]
            expected[spec.name] = float(torch.tensor(sum(logprobs)).exp())
        assert list(probs) == [ANSWER, *NAMES]
        assert probs == pytest.approx({ANSWER: 1.0 - sum(expected.values()), **expected}, abs=1e-4)


def test_logprobs_of_what_was_written_are_the_plain_models(held: Held) -> None:
    requests = _mixed(held)
    for request, action in zip(requests, held.backend.generate(requests), strict=True):
        tokens = action.message.token_ids or ()
        expected = held.logprobs(request.context_ids + tokens)[len(request.context_ids) - 1 :]
        if action.decision == ANSWER and request.specs:  # its first token is drawn given that no call opens
            opens = held.logprobs((*request.context_ids, held.chat.call_opening[0]))[-1]
            expected[0] -= float(torch.log1p(-torch.tensor(opens).exp()))
        assert any(action.written)
        for wrote, recorded, true in zip(action.written, action.logprobs or (), expected, strict=True):
            assert recorded == pytest.approx(true, abs=1e-4) if wrote else recorded == 0.0


@pytest.mark.parametrize("names", [(), NAMES])
def test_a_greedy_answer_is_the_plain_models_given_that_no_call_opens(held: Held, names: tuple[str, ...]) -> None:
    request = held.request(names=names, decision=ANSWER)
    (action,) = held.backend.generate([request])
    struck = held.chat.call_opening[:1] if names else ()
    assert list(action.message.token_ids or ()) == held.greedy(request.context_ids, 6, first_not=struck)


# Decisions, arguments, seeds, stops -----------------------------------------------------------------------------------


def test_a_free_greedy_decision_is_the_likeliest(held: Held) -> None:
    requests = [held.request(prompt, max_argument_tokens=3) for prompt in PROMPTS]
    decided = held.backend.decide(requests)
    for probs, action in zip(decided, held.backend.generate(requests), strict=True):
        assert action.decision == max(probs, key=lambda name: probs[name])
        assert action.decision_probs == pytest.approx(probs, abs=1e-4)


def test_a_forced_decision_is_taken(held: Held) -> None:
    requests = [held.request(decision=name, max_argument_tokens=3) for name in (*NAMES, ANSWER)]
    for request, action in zip(requests, held.backend.generate(requests), strict=True):
        assert action.decision == request.decision
        opened = action.message.content.startswith(f'<tool_call>{{"name": "{action.decision}"')
        assert opened == (action.decision != ANSWER)


def test_arguments_are_valid_or_cut_off(held: Held) -> None:
    schema = {
        "type": "object",
        "properties": {"mode": {"type": "string", "enum": ["fast", "slow"]}, "on": {"type": "boolean"}},
        "required": ["mode", "on"],
        "additionalProperties": False,
    }
    choose = ToolSpec("choose", "Two arguments.", schema)
    tools = [(choose, 12), (SPECS["search"], 4)]
    requests = [
        GenerateRequest(
            held.chat.prompt_ids("Go on.", (spec,)),
            (spec,),
            decision=spec.name,
            temperature=1.3,
            seed=seed,
            max_argument_tokens=most,
        )
        for spec, most in tools
        for seed in range(2)
    ]
    stops = set()
    for request, action in zip(requests, held.backend.generate(requests), strict=True):
        stops.add(action.stop)
        if action.stop is None:
            assert action.call is not None
            assert check_arguments(request.specs[0], action.call.arguments) == ()
            assert parse_turn(action.message.content, request.specs).call == action.call
        else:
            assert action.stop is StopReason.TRUNCATED
            assert sum(action.written) == request.max_argument_tokens
    assert None in stops


def test_the_same_request_and_seed_write_the_same_whatever_else_is_asked(held: Held) -> None:
    requests = _mixed(held)
    together = held.backend.generate(requests)
    for request, action in zip(requests[:4], together, strict=False):
        assert _same(held.backend.generate([request])[0], action)
    hot = held.request(names=(), answer_temperature=1.5)
    written = {a.message.token_ids for a in held.backend.generate([replace(hot, seed=seed) for seed in range(6)])}
    assert len(written) > 1


def test_an_answer_ends_at_the_end_marker_or_at_its_limit(held: Held) -> None:
    unending, short = held.request(names=(), min_answer_tokens=5, max_answer_tokens=5), held.request(names=())
    long, other = held.backend.generate([unending, short])
    assert len(long.message.token_ids or ()) == 5
    assert long.stop is StopReason.TRUNCATED
    assert held.chat.end_id not in (long.message.token_ids or ())[:-1]
    ended = (other.message.token_ids or ())[-1:] == (held.chat.end_id,)
    assert (other.stop is None) == ended


def test_conversations_go_on_with_what_their_tools_said(held: Held) -> None:
    def talk(prompt: str, result: str) -> Talk[tuple[Action, Action]]:
        first: Action = yield held.request(prompt, decision="search", max_argument_tokens=3)
        future: Future[str] = Future()
        threading.Thread(target=future.set_result, args=(result,)).start()
        said: str = yield future
        told = held.chat.message_ids(first.message) + held.chat.message_ids(Message("tool", said))
        context = held.request(prompt).context_ids + told
        second: Action = yield held.request(prompt, decision=ANSWER, context_ids=context)
        return first, second

    pairs = [(PROMPTS[k % 3], f"result {k}") for k in range(5)]
    for (prompt, result), (first, second) in zip(pairs, held.backend.converse([talk(*p) for p in pairs]), strict=True):
        told = held.chat.message_ids(first.message) + held.chat.message_ids(Message("tool", result))
        context = held.request(prompt).context_ids + told
        assert _same(second, held.backend.generate([held.request(prompt, decision=ANSWER, context_ids=context)])[0])


def test_nothing_asked_is_nothing_done(held: Held) -> None:
    backend = held.backend
    assert backend.generate([]) == backend.decide([]) == backend.score([]) == backend.converse([]) == []


# Bad input ------------------------------------------------------------------------------------------------------------


def test_a_request_that_cannot_be_carried_out_says_why_and_leaves_the_others_alone(held: Held) -> None:
    good = held.request(decision=ANSWER)
    bad = [
        (held.request(context_ids=()), StopReason.REFUSED, "empty"),
        (held.request(context_ids=(1, 10**6)), StopReason.REFUSED, "token id"),
        (held.request(decision="fly"), StopReason.REFUSED, "'fly'"),
        (GenerateRequest(good.context_ids, (NOTHING,), decision="nothing"), StopReason.REFUSED, "grammar"),
        (held.request(context_ids=(5,) * held.capacity, max_context_tokens=10**6), StopReason.TRUNCATED, ""),
    ]
    actions = held.backend.generate([good, *(request for request, _, _ in bad), good])
    for action, (_, stop, reason) in zip(actions[1:-1], bad, strict=True):
        assert action.stop is stop
        assert action.message.token_ids == ()
        assert reason in action.message.content
    assert _same(actions[0], actions[-1])
    assert _same(actions[0], held.backend.generate([good])[0])


def test_without_candidates_the_answer_is_certain(held: Held) -> None:
    requests = [held.request(names=()), held.request(context_ids=()), held.request(context_ids=(1, 10**6))]
    assert held.backend.decide(requests) == [{ANSWER: 1.0}] * 3


def test_a_cancelled_request_ends_alone(held: Held) -> None:
    unwanted = threading.Event()
    unwanted.set()
    good = held.request(decision=ANSWER)
    cancelled, action = held.backend.generate([replace(good, cancelled=unwanted), good])
    assert cancelled.stop is StopReason.CANCELLED
    assert action.stop is not StopReason.CANCELLED


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (ScoreRequest((1, 2, 3), 0), "position 0"),
        (ScoreRequest((1, 2, 3), 3), "position 3"),
        (ScoreRequest((), 1), "position 1"),
        (ScoreRequest((1, 10**6), 1), "token id"),
        (ScoreRequest((1,) * 10**5, 1), "100000 tokens"),
    ],
)
def test_what_cannot_be_scored_is_named(held: Held, request_: ScoreRequest, reason: str) -> None:
    with pytest.raises(ValueError, match=f"request 1: .*{reason}"):
        held.backend.score([ScoreRequest((1, 2), 1), request_])


@pytest.mark.parametrize("backend", ["torch", "vllm"])
def test_logits_that_are_not_numbers_end_only_the_turns_that_meet_them(backend: str) -> None:
    model = leaning_llama()
    with torch.no_grad():
        model.model.embed_tokens.weight[chat().encode("2")[0]] = float("nan")
    size = int(model.config.vocab_size)
    with serving(VllmDouble(model)) as double:
        client = _client(double.url, double.name, tokenizer(), vocabulary=size, capacity=1024)
        held = Held(tiny_policy(model) if backend == "torch" else client, model, 1024)
        asked = [held.request(PROMPTS[1], decision=ANSWER), held.request(PROMPTS[1]), held.request(decision=ANSWER)]
        *met, other = held.backend.generate(asked)
    for action in met:
        assert action.stop is StopReason.REFUSED
        assert "not numbers" in action.message.content
        assert action.written == ()
    assert other.stop is not StopReason.REFUSED
