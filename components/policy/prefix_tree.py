"""Prefix trees: token sequences that begin alike, packed so that each shared token is computed once.

Takes token sequences; gives trees whose nodes are the distinct tokens, with what a transformer needs to compute them in
one forward: ids, positions, and a mask by which a node attends to its ancestors and itself (the tree attention of
SpecInfer, Miao et al. 2024). Causal attention sees nothing but the prefix, so the states of a node are exactly those of
every sequence through it, and the gradient of a sum over sequences is that of a sum over nodes. Runs no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Device = torch.device | str

ATTENTION_WORTH = 500
"""Nodes of width at which attending costs as much as the linears of a token; decides whether a shared prefix is worth a
wider tree. By operations it would be 3000 (hidden size 576), but masks and softmax wait for memory: in training on two
CPU cores, 14 demonstrations that share 22 tokens of 140 took 5.1 s at 500 and 6.1-7.2 s at 3000, while 12 siblings that
share a prompt of 70 took 2.0-2.4 s at either and 3.6 s apart."""


@dataclass(frozen=True, slots=True)
class PrefixTree:
    """Some sequences as one tree. Nodes stand in depth-first order, so a node's descendants follow it directly."""

    ids: tuple[int, ...]
    """Token of each node."""
    positions: tuple[int, ...]
    """Position of each node's token in its sequences."""
    ends: tuple[int, ...]
    """First node after each node's descendants."""
    members: tuple[int, ...]
    """Which of the packed sequences go through this tree."""
    paths: tuple[tuple[int, ...], ...]
    """Per member, the node of each of its tokens."""

    def __len__(self) -> int:
        return len(self.ids)


def pack(sequences: Sequence[Sequence[int]], *, limit: int = 1024) -> list[PrefixTree]:
    """Trees that hold every sequence once; none has more than `limit` nodes unless a single sequence does.

    Sequences that share too little to be worth a wider attention get trees of their own.

    Raises:
        ValueError: a sequence is empty.
    """
    trees: list[PrefixTree] = []
    growing = _Growing()
    for index in sorted(range(len(sequences)), key=lambda i: tuple(sequences[i])):
        ids = sequences[index]
        if not len(ids):
            raise ValueError(f"sequence {index} is empty")
        shared = growing.shared(ids)
        fresh = len(ids) - shared
        apart = fresh > 0 and shared * ATTENTION_WORTH <= fresh * len(growing.ids)
        if growing.members and (apart or len(growing.ids) + fresh > limit):
            trees.append(growing.tree())
            growing, shared = _Growing(), 0
        growing.add(index, ids, shared)
    if growing.members:
        trees.append(growing.tree())
    return trees


def passes(sequences: Sequence[Sequence[int]], *, limit: int) -> list[list[int]]:
    """Indices of sequences in groups of neighbours that need at most `limit` nodes each (or are one sequence)."""
    groups: list[list[int]] = []
    nodes, before = 0, tuple[int, ...]()
    for index in sorted(range(len(sequences)), key=lambda i: tuple(sequences[i])):
        ids = tuple(sequences[index])
        fresh = len(ids) - common_prefix(before, ids)
        if not groups or nodes + fresh > limit:
            groups.append([])
            nodes, fresh = 0, len(ids)
        groups[-1].append(index)
        nodes, before = nodes + fresh, ids
    return groups


def nodes_in(sequences: Sequence[Sequence[int]]) -> int:
    """Number of distinct prefixes: what one forward over all sequences has to compute at least."""
    ordered = sorted(tuple(ids) for ids in sequences)
    return sum(len(ids) - common_prefix(before, ids) for before, ids in zip([(), *ordered], ordered, strict=False))


class _Growing:
    """A tree while sequences are added in lexicographic order: only the last path can still grow."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.members: list[int] = []
        self._positions: list[int] = []
        self._ends: list[int] = []
        self._paths: list[tuple[int, ...]] = []
        self._open: list[int] = []

    def shared(self, ids: Sequence[int]) -> int:
        """Tokens that `ids` has in common with the path added last."""
        return common_prefix([self.ids[node] for node in self._open], ids)

    def add(self, index: int, ids: Sequence[int], shared: int) -> None:
        self._close(shared)
        for position in range(shared, len(ids)):
            self._open.append(len(self.ids))
            self.ids.append(ids[position])
            self._positions.append(position)
            self._ends.append(-1)
        self.members.append(index)
        self._paths.append(tuple(self._open))

    def _close(self, length: int) -> None:
        for node in self._open[length:]:
            self._ends[node] = len(self.ids)
        del self._open[length:]

    def tree(self) -> PrefixTree:
        self._close(0)
        return PrefixTree(
            ids=tuple(self.ids),
            positions=tuple(self._positions),
            ends=tuple(self._ends),
            members=tuple(self.members),
            paths=tuple(self._paths),
        )


def common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    length = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        length += 1
    return length


class Forest:
    """Trees side by side: flat nodes for the linears, a padded grid [trees, width] for attention."""

    def __init__(self, trees: Sequence[PrefixTree], *, count: int, device: Device = "cpu") -> None:
        """`count`: how many sequences were packed. Every tensor lies on `device`."""
        sizes = [len(tree) for tree in trees]
        self.trees, self.width, self._device = len(trees), max(sizes), device
        self.ids = torch.tensor([token for tree in trees for token in tree.ids], device=device)
        self.positions = torch.tensor([position for tree in trees for position in tree.positions], device=device)
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        self.where: list[tuple[int, int, tuple[int, ...]]] = [(0, 0, ())] * count
        """Per sequence: its tree, the first flat node of that tree, and its path inside it."""
        for number, (tree, start) in enumerate(zip(trees, starts, strict=True)):
            for member, path in zip(tree.members, tree.paths, strict=True):
                self.where[member] = (number, start, path)
        self.starts = torch.tensor([*starts, sum(sizes)], device=device)
        """First flat node of each tree, and the number of nodes at the end."""
        flat_ends = [start + end for start, tree in zip(starts, trees, strict=True) for end in tree.ends]
        self.ends = torch.tensor(flat_ends, device=device)
        """First flat node after each node's descendants: j is i or an ancestor of i when j <= i < ends[j]."""
        self._masks: dict[torch.dtype, Tensor] = {}
        cells = [row * self.width + column for row, size in enumerate(sizes) for column in range(size)]
        self.cells = torch.tensor(cells, device=device)
        """Flat grid cell of each node."""

    def node(self, sequence: int, position: int) -> int:
        """The flat node of a sequence's token."""
        _, start, path = self.where[sequence]
        return start + path[position]

    def allowed(self) -> Tensor:
        """[trees, width, width]: may the node of the row attend to the node of the column (itself or an ancestor)?

        Padding attends to itself alone, so that no row is empty.
        """
        ends = self.pad(self.ends - self.starts[self.cells // self.width])
        index = torch.arange(self.width, device=self._device)
        inside = (index[None, :, None] >= index[None, None, :]) & (index[None, :, None] < ends[:, None, :])
        return inside | torch.eye(self.width, dtype=torch.bool, device=self._device)

    def mask(self, dtype: torch.dtype) -> Tensor:
        """`allowed` as an additive mask [trees, width, width]: 0 or -inf; kept, for every block asks for it."""
        found = self._masks.get(dtype)
        if found is None:
            empty = torch.zeros(1, dtype=dtype, device=self._device).expand(self.trees, self.width, self.width)
            found = self._masks[dtype] = empty.masked_fill(~self.allowed(), float("-inf"))
        return found

    def pad(self, flat: Tensor) -> Tensor:
        """[nodes, ...] -> [trees, width, ...], zeros in the padding"""
        if len(self.cells) == self.trees * self.width:
            return flat.view(self.trees, self.width, *flat.shape[1:])
        padded = flat.new_zeros((self.trees * self.width, *flat.shape[1:]))
        return padded.index_copy(0, self.cells, flat).view(self.trees, self.width, *flat.shape[1:])

    def flat(self, padded: Tensor) -> Tensor:
        """[trees, width, ...] -> [nodes, ...]"""
        joined: Tensor = padded.flatten(0, 1)
        return joined if len(self.cells) == len(joined) else joined.index_select(0, self.cells)


def plant(sequences: Sequence[Sequence[int]], *, limit: int = 1024, device: Device = "cpu") -> Forest:
    """The forest of the sequences; trees of at most `limit` nodes; tensors on `device`, that of the model."""
    return Forest(pack(sequences, limit=limit), count=len(sequences), device=device)
