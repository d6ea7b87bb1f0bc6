"""Prefixes that were computed, kept for contexts that go on from them: a radix tree of tokens with their computation.

Takes token sequences with what a session computed for them; gives back the longest prefix of a context that is known. A
search comes back to states that rows have long forgotten: so the tokens of a node's ancestors are computed once.
Holds a bounded number of tokens; what was not used for longest goes first. Runs no model.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from components.policy.prefix_tree import common_prefix


@dataclass(slots=True, eq=False)
class _Stretch:
    """Tokens that follow its parent's, with what was computed for them, one slice a token."""

    ids: tuple[int, ...]
    computed: Tensor
    parent: _Stretch | None
    below: dict[int, _Stretch] = field(default_factory=dict)
    """By first token."""


class KeptPrefixes:
    """The radix tree."""

    def __init__(self, capacity: int) -> None:
        """`capacity`: most tokens held."""
        self._capacity, self.held = capacity, 0
        self._root = _Stretch((), torch.empty(0), None)
        self._by_use: OrderedDict[_Stretch, None] = OrderedDict()
        """Least recently used first; a stretch always stands after those below it, so the first has none below."""

    def longest(self, ids: Sequence[int], *, beyond: int = 0) -> tuple[int, Tensor | None]:
        """Length of the longest known prefix of `ids`; what was computed for it, if it is longer than `beyond`."""
        path, length = self._walk(ids)
        self._touch([stretch for stretch, _ in path])
        if length <= beyond:
            return length, None
        return length, torch.cat([stretch.computed[:used] for stretch, used in path])

    def add(self, ids: Sequence[int], copy_out: Callable[[int, int], Tensor]) -> None:
        """Keep `ids`; `copy_out(start, stop)` gives what was computed for the part that is not known yet."""
        path, length = self._walk(ids)
        if path and path[-1][1] < len(path[-1][0].ids):
            path[-1] = self._split(*path[-1]), path[-1][1]
        stretches = [stretch for stretch, _ in path]
        if length < len(ids):
            above = stretches[-1] if stretches else self._root
            stretches.append(self._hang(above, tuple(ids[length:]), copy_out(length, len(ids))))
            self.held += len(ids) - length
        self._touch(stretches)
        while self.held > self._capacity:
            self._drop(next(iter(self._by_use)))

    def _walk(self, ids: Sequence[int]) -> tuple[list[tuple[_Stretch, int]], int]:
        """Stretches along `ids`, each with how many of its tokens agree, and the sum of these."""
        path: list[tuple[_Stretch, int]] = []
        here, length = self._root, 0
        while length < len(ids) and ids[length] in here.below:
            here = here.below[ids[length]]
            used = common_prefix(here.ids, ids[length : length + len(here.ids)])
            path.append((here, used))
            length += used
            if used < len(here.ids):
                break
        return path, length

    def _split(self, stretch: _Stretch, at: int) -> _Stretch:
        """The first `at` tokens of a stretch as a stretch of their own, above the rest."""
        assert stretch.parent is not None
        upper = self._hang(stretch.parent, stretch.ids[:at], stretch.computed[:at].clone())
        stretch.ids, stretch.computed, stretch.parent = stretch.ids[at:], stretch.computed[at:].clone(), upper
        upper.below[stretch.ids[0]] = stretch
        return upper

    def _hang(self, above: _Stretch, ids: tuple[int, ...], computed: Tensor) -> _Stretch:
        made = above.below[ids[0]] = _Stretch(ids, computed, above)
        self._by_use[made] = None
        return made

    def _touch(self, path: Sequence[_Stretch]) -> None:
        for stretch in reversed(path):
            self._by_use.move_to_end(stretch)

    def _drop(self, stretch: _Stretch) -> None:
        assert stretch.parent is not None
        assert not stretch.below, "what is used last is never above what is used later"
        del self._by_use[stretch], stretch.parent.below[stretch.ids[0]]
        self.held -= len(stretch.ids)
