"""Sessions: the fast cached form against the slow recomputing one, over random sequences of commands."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from tiny_models import tiny_llama

from components.policy import llama
from components.policy.session import CachedSession, RecomputingSession, Session

VOCABULARY = 97
CAPACITY = 96


def _pair(rows: int) -> tuple[CachedSession, RecomputingSession]:
    model = tiny_llama(3, layers=3, vocabulary=VOCABULARY, spread=0.15)
    weights = llama.pack(model)
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


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.usefixtures("loops")
@torch.no_grad()
def test_the_cached_session_agrees_with_recomputing_everything(seed: int) -> None:
    draw = random.Random(seed)
    pair = _pair(rows=draw.randint(1, 9))
    commands: list[Callable[[tuple[Session, Session], random.Random], float]] = [_append, _append, _rewind, _assign]
    for _ in range(25):
        difference = draw.choice(commands)(pair, draw)
        assert difference <= 1e-4
        assert pair[0].rows == pair[1].rows


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
