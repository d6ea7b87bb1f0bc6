"""Tiny models with the real tokenizer: a few thousand weights, fp32, made in milliseconds.

Takes seeds; gives Hugging Face modules, policies and encoders. The tokenizer is read once a session (it takes seconds).
A *leaning* model is random but for its head, which prefers some continuations, so that calls and answers happen.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoTokenizer,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from components.policy.base_model import wheel_weights
from components.policy.chat import Chat
from components.policy.constrained import ArgumentGrammars
from components.policy.encode import encode_answer, encode_call
from components.policy.policy import Policy
from components.policy.settings import PolicySettings
from components.schema.cost import Cost
from components.schema.message import Message, ToolCall, ToolResult
from components.schema.problem import Problem
from components.schema.tool import ToolSpec
from components.schema.trajectory import Action, Outcome, StopReason, Trajectory, Transition
from components.tools.composite import COMPOSITE_SPECS, DELEGATE_SPEC
from components.tools.grammar import render_call
from components.tools.spec import KNOWN_SPECS, by_name
from components.training.material import Encoder

SPECS = by_name((*KNOWN_SPECS, DELEGATE_SPEC))
"""Tools that the leaning model likes to call; the name of the last one takes several tokens."""


@cache
def tokenizer() -> Any:
    """The tokenizer of the default base model."""
    weights = wheel_weights()
    return AutoTokenizer.from_pretrained(str(weights.parent), gguf_file=weights.name)


def byte_tokenizer() -> Any:
    """A tokenizer without chat markers, whose tokens are bytes; it is made and read in no time."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bare = Tokenizer(models.BPE(vocab={letter: place for place, letter in enumerate(["<end>", *letters])}, merges=[]))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=bare, eos_token="<end>")


@cache
def chat() -> Chat:
    """Its chat format."""
    return Chat(tokenizer())


@cache
def grammars() -> ArgumentGrammars:
    """Its argument grammars."""
    return ArgumentGrammars(chat(), vocabulary=len(tokenizer()))


def tiny_llama(
    seed: int = 0,
    *,
    layers: int = 2,
    vocabulary: int | None = None,
    spread: float = 0.05,
    positions: int = 1024,
    shape: tuple[int, int, int] = (4, 2, 16),
) -> Any:
    """A random Llama with grouped-query attention; the norms have gains too. `shape`: heads, kv heads, their size."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary or len(tokenizer()),
            hidden_size=shape[0] * shape[2],
            intermediate_size=128,
            num_hidden_layers=layers,
            num_attention_heads=shape[0],
            num_key_value_heads=shape[1],
            head_dim=shape[2],
            max_position_embeddings=positions,
            initializer_range=spread,
            tie_word_embeddings=False,
            attn_implementation="eager",
        )
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.8, 1.2)
    return model.eval()


def tiny_other(family: str) -> Any:
    """A random model of another family: `gpt_neox` or `qwen2`."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab_size": len(tokenizer()),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "initializer_range": 0.05,
    }
    if family == "gpt_neox":
        return GPTNeoXForCausalLM(GPTNeoXConfig(**sizes)).eval()
    return Qwen2ForCausalLM(Qwen2Config(**sizes, num_key_value_heads=2)).eval()


@cache
def _leaning() -> Any:
    model, texts = tiny_llama(1), chat()
    start = texts.prompt_ids("?", ())[-1:]
    habits: list[tuple[Sequence[int], float]] = [
        (start + texts.call_opening[:1], 1.9),
        (start + texts.encode("It"), 1.55),
        *(((*texts.call_opening, *texts.encode(name)), 2.3) for name in SPECS),
        *((texts.encode(name)[-1:] + texts.encode('"'), 2.3) for name in SPECS),
        ((*texts.encode("It is Bamako."), texts.end_id), 2.3),
        (texts.encode(': "capital Chad"'), 2.3),
    ]
    with torch.no_grad():
        embedding, head = model.model.embed_tokens.weight, model.lm_head.weight
        embedding /= embedding.norm(dim=1, keepdim=True)
        strongest: dict[tuple[int, int], float] = {}
        for ids, strength in habits:
            for pair in pairwise(ids):
                strongest.setdefault(pair, strength)
        for (before, after), strength in strongest.items():
            head[after] += strength * embedding[before]
    return model


def leaning_llama() -> Any:
    """A model that sometimes calls search, python or delegate and sometimes answers."""
    return copy.deepcopy(_leaning())


def tiny_policy(model: Any = None, *, slots: int = 64, prefill_tokens: int = 6144) -> Policy:
    """A policy over `model` (a leaning one by default)."""
    settings = PolicySettings(dtype="float32", slots=slots, prefill_tokens=prefill_tokens, threads=1)
    return Policy(model if model is not None else leaning_llama(), tokenizer(), settings, policy_id="tiny")


def specs_of(names: Sequence[str]) -> tuple[ToolSpec, ...]:
    """Specs by name."""
    known = {**SPECS, **by_name(COMPOSITE_SPECS)}
    return tuple(known[name] for name in names)


@cache
def encoder() -> Encoder:
    """An encoder with the real tokenizer."""
    return Encoder(chat(), grammars(), specs_of)


def written_call(name: str, argument: str) -> Action:
    """A call with its tokens, as a person or a policy writes it."""
    spec = SPECS[name]
    call = ToolCall(name, {next(iter(spec.parameters["properties"])): argument})
    bare = Action(Message("assistant", render_call(call)), name, (), None, call=call)
    return encode_call(chat(), grammars(), bare, spec)


def told(
    problem: Problem, calls: Sequence[tuple[str, str, str]], answer: str, *, forced: str | None = None
) -> Trajectory:
    """A finished trajectory: calls as (tool, argument, result), then the answer."""
    transitions = [
        Transition(written_call(name, argument), (ToolResult(result, False, Cost(calls=1)),), Cost(calls=1))
        for name, argument, result in calls
    ]
    transitions.append(Transition(encode_answer(chat(), answer), (), Cost()))
    return Trajectory(
        trajectory_id=f"{problem.problem_id}/{calls}/{answer}",
        problem_id=problem.problem_id,
        policy_id="human",
        seed=0,
        transitions=tuple(transitions),
        outcome=Outcome(StopReason.ANSWERED, answer, True, Cost(calls=len(calls))),
        forced=(forced,) if forced else (),
    )
