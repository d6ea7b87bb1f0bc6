"""Which examples a step sees: whole epochs, from nothing but seed and step."""

from __future__ import annotations

from collections import Counter

import pytest

from components.training.batches import indices, replay_indices


@pytest.mark.parametrize(("size", "batch"), [(10, 3), (7, 7), (5, 8), (12, 4), (1, 3)])
def test_steps_walk_through_whole_epochs(size: int, batch: int) -> None:
    steps = range(size)
    seen = [index for step in steps for index in indices(size, batch, seed=3, step=step)]
    assert len(seen) == size * batch
    for epoch in range(batch):
        assert sorted(seen[epoch * size : (epoch + 1) * size]) == list(range(size))


def test_a_step_depends_on_seed_and_step_alone() -> None:
    late = indices(50, 8, seed=1, step=30)
    for step in range(30):
        indices(50, 8, seed=1, step=step)
    assert indices(50, 8, seed=1, step=30) == late
    assert indices(50, 8, seed=2, step=30) != late
    assert indices(50, 8, seed=1, step=31) != late


def test_epochs_are_shuffled_differently() -> None:
    assert indices(20, 20, seed=0, step=0) != indices(20, 20, seed=0, step=1)


def test_an_empty_pool_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="nothing to learn from"):
        indices(0, 4, seed=0, step=0)


@pytest.mark.parametrize(("kept", "direct", "batch"), [(10, 6, 6), (10, 0, 6), (0, 6, 6), (3, 1, 9)])
def test_a_replayed_batch_is_full_and_a_third_of_it_is_direct(kept: int, direct: int, batch: int) -> None:
    chosen = Counter(
        index < kept for step in range(5) for index in replay_indices(kept, direct, batch, seed=0, step=step)
    )
    assert chosen.total() == 5 * batch
    if kept and direct:
        assert chosen[False] == 5 * min(direct, batch // 3)
    assert all(0 <= i < kept + direct for i in replay_indices(kept, direct, batch, seed=0, step=9))
