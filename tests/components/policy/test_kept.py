"""Kept prefixes: what comes back is what was put in, for the longest known prefix, within the bound."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import tiny_llama
from torch import Tensor

from components.policy import llama
from components.policy.kept import KeptPrefixes
from components.policy.session import CachedSession

SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=7).map(tuple), max_size=12)


def computed_for(ids: Sequence[int]) -> Tensor:
    """Stands for a computation: each token's depends on all tokens before it, as a cache's does."""
    return torch.tensor([[hash(tuple(ids[: end + 1])) % 2**40] for end in range(len(ids))], dtype=torch.long)


def keep(kept: KeptPrefixes, ids: Sequence[int]) -> None:
    kept.add(ids, lambda start, stop: computed_for(ids)[start:stop])


@given(SEQUENCES, st.lists(st.integers(0, 2), max_size=9))
def test_the_longest_known_prefix_comes_back_with_its_computation(
    sequences: list[tuple[int, ...]], asked: list[int]
) -> None:
    kept = KeptPrefixes(10_000)
    for ids in sequences:
        keep(kept, ids)
    known = {ids[:end] for ids in sequences for end in range(1, len(ids) + 1)}
    length, computed = kept.longest(asked)
    assert length == max((end for end in range(len(asked) + 1) if tuple(asked[:end]) in known), default=0)
    assert kept.held == len(known)
    if computed is not None:
        assert computed.tolist() == computed_for(asked[:length]).tolist()


@given(SEQUENCES, st.integers(0, 12))
def test_never_more_tokens_are_held_than_allowed_and_the_last_ones_stay(
    sequences: list[tuple[int, ...]], capacity: int
) -> None:
    kept = KeptPrefixes(capacity)
    for ids in sequences:
        keep(kept, ids)
        assert kept.held <= capacity
        if len(ids) <= capacity:
            assert kept.longest(ids)[0] == len(ids)


def test_only_the_unknown_part_is_asked_for() -> None:
    kept, asked = KeptPrefixes(100), []
    for ids in [(1, 2, 3), (1, 2, 3, 4, 5), (1, 2, 9)]:
        kept.add(ids, lambda start, stop: asked.append((start, stop)) or torch.zeros(stop - start, 1))
    assert asked == [(0, 3), (3, 5), (2, 3)]


@pytest.mark.parametrize("length", [1, 5, 9])
def test_a_session_goes_on_from_what_was_copied_in_as_from_what_it_computed(length: int) -> None:
    session = CachedSession(llama.pack(tiny_llama(3)), rows=2, capacity=64)
    ids = list(range(7, 17))
    with torch.no_grad():
        (whole,) = session.append([0], [ids], [1])
        session.copy_in(1, ids[:length], session.copy_out(0, 0, length))
        (rest,) = session.append([1], [ids[length:]], [1])
    assert session.rows[1] == ids
    torch.testing.assert_close(rest, whole, rtol=1e-5, atol=1e-6)
