"""Sessions: the fast cached form against the slow recomputing one, over random sequences of commands."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tiny_models import tiny_llama

from components.policy import llama
from components.policy.session import CachedSession, RecomputingSession, Session

VOCABULARY = 97
CAPACITY = 96


def _pair(rows: int, *, packed: bool = False) -> tuple[CachedSession, RecomputingSession]:
    model = tiny_llama(3, layers=3, vocabulary=VOCABULARY, spread=0.15)
    weights = replace(llama.pack(model), packed=packed)
    return CachedSession(weights, rows=rows, capacity=CAPACITY), RecomputingSession(model, rows=rows, capacity=CAPACITY)


def _append(pair: tuple[Session, Session], draw: random.Random) -> float:
    count = len(pair[0].rows)
    rows = draw.sample(range(count), draw.randint(1, count))
    if draw.random() < 0.5:
        rows.sort()
    rows = [row for row in rows if len(pair[0].rows[row]) < CAPACITY - 16] or [0]
    tokens = [[draw.randrange(VOCABULARY) for _ in range(draw.choice((1, 1, 2, 5, 11)))] for _ in rows]
    keep = [draw.randint(0, len(ids)) for ids in tokens]
    outputs = [session.append(rows, tokens, keep) for session in pair]
    worst = 0.0
    for fast, slow, kept in zip(*outputs, keep, strict=True):
        assert fast.shape[0] == slow.shape[0] == kept
        if kept:
            difference = pair[0].logits(fast).log_softmax(-1) - pair[1].logits(slow).log_softmax(-1)
            worst = max(worst, float(difference.abs().max()))
    return worst


def _reread(pair: tuple[Session, Session], draw: random.Random) -> float:
    """States of a middle block, which also must not change the cache: what is appended later is compared as well."""
    rows = [row for row in draw.sample(range(len(pair[0].rows)), len(pair[0].rows)) if pair[0].rows[row]][:3]
    if not rows:
        return 0.0
    starts, layer = [draw.randrange(len(pair[0].rows[row])) for row in rows], draw.randint(1, 2)
    fast, slow = (torch.cat(session.reread(rows, starts, layer)) for session in pair)
    return float((fast - slow).abs().max())


def _rewind(pair: tuple[Session, Session], draw: random.Random) -> float:
    row = draw.randrange(len(pair[0].rows))
    length = draw.randint(0, len(pair[0].rows[row]))
    for session in pair:
        session.rewind(row, length)
    return 0.0


def _assign(pair: tuple[Session, Session], draw: random.Random) -> float:
    count = len(pair[0].rows)
    targets = draw.sample(range(count), draw.randint(1, count))
    sources = [draw.randrange(count) for _ in targets]
    for session in pair:
        session.assign(targets, sources)
    return 0.0


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.usefixtures("loops")
@torch.no_grad()
def test_the_cached_session_agrees_with_recomputing_everything(seed: int, packed: bool) -> None:
    draw = random.Random(seed)
    pair = _pair(rows=draw.randint(1, 9), packed=packed)
    commands: list[Callable[[tuple[Session, Session], random.Random], float]]
    commands = [_append, _append, _reread, _rewind, _assign]
    for _ in range(25):
        difference = draw.choice(commands)(pair, draw)
        assert difference <= 1e-4
        assert pair[0].rows == pair[1].rows


@torch.no_grad()
def test_packed_linears_meet_few_numbers_of_rows() -> None:
    met: set[int] = set()

    def noting(linear: llama.Linear) -> llama.Linear:
        return lambda x: met.add(len(x)) or linear(x)  # type: ignore[func-returns-value]

    weights = replace(llama.pack(tiny_llama(0, layers=2, vocabulary=VOCABULARY)), packed=True)
    weights.layers = [replace(layer, qkv=noting(layer.qkv)) for layer in weights.layers]
    session = CachedSession(weights, rows=1, capacity=CAPACITY)
    for count in range(1, CAPACITY + 1):
        session.rewind(0, 0)
        (hidden,) = session.append([0], [[1] * count], [count])
        assert len(hidden) == count
    assert met == {*range(1, 17), *range(18, 33, 2), *range(36, 65, 4), *range(72, CAPACITY + 1, 8)}


@torch.no_grad()
def test_after_warming_no_number_of_rows_is_new() -> None:
    met: list[set[int]] = [set(), set()]

    def noting(linear: llama.Linear, seen: set[int]) -> llama.Linear:
        return lambda x: seen.add(len(x)) or linear(x)  # type: ignore[func-returns-value]

    weights = replace(llama.pack(tiny_llama(0, layers=2, vocabulary=VOCABULARY)), packed=True)
    weights.layers = [replace(layer, qkv=noting(layer.qkv, met[0])) for layer in weights.layers]
    weights.head = noting(weights.head, met[1])
    llama.warm(weights, rows=CAPACITY, drawn=20)
    assert met[0] == {llama.even_rows(count) for count in range(1, CAPACITY + 1)}
    assert met[1] == {llama.even_rows(count) for count in range(1, 21)}


def test_rows_are_rounded_up_by_an_eighth_at_most() -> None:
    for count in range(1, 3000):
        rows = llama.even_rows(count)
        assert count <= rows <= count + count // 8
        assert llama.even_rows(rows) == rows


@torch.no_grad()
def test_the_recomputing_session_agrees_with_the_model_itself() -> None:
    model = tiny_llama(3, vocabulary=VOCABULARY)
    session = RecomputingSession(model, rows=2, capacity=CAPACITY)
    session.append([0, 1], [[1, 2, 3], [4]], [1, 1])
    (hidden,) = session.append([0], [[5, 6]], [2])
    whole = model(torch.tensor([[1, 2, 3, 5, 6]])).logits[0, -2:]
    assert torch.allclose(session.logits(hidden), whole, atol=1e-5)


@torch.no_grad()
def test_a_row_longer_than_the_context_is_refused_with_its_length() -> None:
    for session in _pair(rows=1):
        with pytest.raises(ValueError, match=f"{CAPACITY + 1} tokens"):
            session.append([0], [[1] * (CAPACITY + 1)], [1])


def test_a_llama_with_what_the_fast_forward_leaves_out_is_refused() -> None:
    model = tiny_llama(0, layers=1, vocabulary=VOCABULARY)
    model.config.attention_bias = True
    assert not llama.supports(model.config)
    with pytest.raises(ValueError, match="llama"):
        llama.pack(model)
