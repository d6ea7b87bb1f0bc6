"""Which examples a step sees. Takes pools and a seed; gives indices that depend on nothing but seed and step."""

from __future__ import annotations

import random
from functools import lru_cache


@lru_cache(maxsize=64)
def _order(size: int, seed: int, epoch: int) -> tuple[int, ...]:
    order = list(range(size))
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return tuple(order)


def indices(size: int, batch: int, *, seed: int, step: int) -> tuple[int, ...]:
    """`batch` indices below `size` for this step: epochs of seeded shuffles, one after another.

    Raises:
        ValueError: the pool is empty.
    """
    if size == 0:
        raise ValueError("there is nothing to learn from: the pool of examples is empty")
    first = step * batch
    return tuple(_order(size, seed, place // size)[place % size] for place in range(first, first + batch))


def replay_indices(kept: int, direct: int, batch: int, *, seed: int, step: int) -> tuple[int, ...]:
    """Indices into `kept` demonstrations followed by `direct` answers: a third of the batch from the direct ones."""
    from_direct = min(direct, batch // 3) if kept else batch
    first = indices(kept, batch - from_direct, seed=seed, step=step) if kept else ()
    second = indices(direct, from_direct, seed=seed + 1, step=step) if from_direct else ()
    return (*first, *(kept + index for index in second))
