"""Sequences held side by side with their key-value cache: append tokens to rows, rewind rows, copy rows.

Takes token ids; gives hidden states of the appended tokens. The cache is allocated ahead and only ever widened. Two
forms with one behaviour: `CachedSession` (Llama family, fast) and `RecomputingSession` (any Hugging Face causal LM, and
the specification of the fast one in the tests). It does not sample and knows no tools.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from components.policy.cache_attention import CacheAttention, attention
from components.policy.llama import LlamaWeights, evened, layer_forward, normalise
from components.policy.model_type import CausalLM


class Session(Protocol):
    """Rows of tokens under one model."""

    rows: list[list[int]]
    """Tokens of each row, as seen by the model."""

    def append(self, rows: Sequence[int], tokens: Sequence[Sequence[int]], keep: Sequence[int]) -> list[Tensor]:
        """Append `tokens[i]` (at least one) to row `rows[i]`; hidden states [keep[i], hidden] of its last tokens."""

    def reread(self, rows: Sequence[int], starts: Sequence[int], layer: int) -> list[Tensor]:
        """[tokens, hidden] after block `layer` (the first is 1, short of the last) of the tokens of `rows[i]` from
        position `starts[i]` on; the rows stay as they are."""

    def rewind(self, row: int, length: int) -> None:
        """Forget the tokens of `row` after the first `length`."""

    def widen(self, rows: int) -> None:
        """Have at least `rows` rows; new ones are empty."""

    def assign(self, targets: Sequence[int], sources: Sequence[int]) -> None:
        """Row `targets[i]` becomes a copy of the old row `sources[i]`, all at once: forks, moves and swaps."""

    def copy_out(self, row: int, start: int, stop: int) -> Tensor:
        """What was computed for the tokens `start..stop` of a row, one slice a token; `copy_in` puts it back."""

    def copy_in(self, row: int, tokens: Sequence[int], computed: Tensor) -> None:
        """Append to a row tokens whose computation was copied out behind the same prefix."""

    def logits(self, hidden: Tensor) -> Tensor:
        """[N, hidden] -> [N, vocabulary], in the model's type."""


class CachedSession:
    """Fast session for the Llama family."""

    def __init__(self, weights: LlamaWeights, *, rows: int, capacity: int) -> None:
        """`rows` empty rows; the cache starts small and grows by doubling up to `capacity` tokens a row."""
        self.rows: list[list[int]] = [[] for _ in range(rows)]
        self._weights, self._device = weights, weights.embedding.device
        self._capacity = min(capacity, weights.shape.max_positions)
        empty = weights.embedding.new_zeros((rows, 0, weights.shape.kv_heads, weights.shape.head_dim))
        self._keys: list[Tensor] = [empty] * weights.shape.layers
        self._values: list[Tensor] = [empty] * weights.shape.layers

    def _grow(self, rows: int, width: int) -> None:
        shape = self._weights.shape
        for layers in (self._keys, self._values):
            for index, old in enumerate(layers):  # one after the other: the whole cache never stands there twice
                layers[index] = old.new_zeros((rows, width, shape.kv_heads, shape.head_dim))
                layers[index][: old.shape[0], : old.shape[1]] = old

    def _reserve(self, needed: int) -> None:
        if needed > self._capacity:
            raise ValueError(f"a row of {needed} tokens does not fit the context of {self._capacity}")
        width = self._keys[0].shape[1]
        if needed > width:
            self._grow(len(self.rows), min(self._capacity, max(needed + 32, width + width // 2)))

    def append(self, rows: Sequence[int], tokens: Sequence[Sequence[int]], keep: Sequence[int]) -> list[Tensor]:
        counts = [len(ids) for ids in tokens]
        starts = [len(self.rows[row]) for row in rows]
        self._reserve(max(s + c for s, c in zip(starts, counts, strict=True)))
        attend = attention(rows, starts, counts, self._weights)
        flat = torch.tensor([token for ids in tokens for token in ids], device=self._device)
        hidden = normalise(self._forward(flat, attend), self._weights.shape.norm_eps)
        for row, ids in zip(rows, tokens, strict=True):
            self.rows[row].extend(ids)
        return [part[len(part) - k :] for part, k in zip(hidden.split(counts), keep, strict=True)]

    def reread(self, rows: Sequence[int], starts: Sequence[int], layer: int) -> list[Tensor]:
        """The blocks up to `layer` once more, over the cache: their keys and values are written again as they were."""
        tokens = [self.rows[row][start:] for row, start in zip(rows, starts, strict=True)]
        counts = [len(ids) for ids in tokens]
        flat = torch.tensor([token for ids in tokens for token in ids], device=self._device)
        return list(self._forward(flat, attention(rows, starts, counts, self._weights), blocks=layer).split(counts))

    def _forward(self, flat: Tensor, attend: CacheAttention, *, blocks: int | None = None) -> Tensor:
        """[tokens, hidden] after the first `blocks`, by default all; no final norm."""
        weights, shape = self._weights, self._weights.shape
        x, mix = evened(weights.embedding[flat], attend, packed=weights.packed)
        for layer, keys, values in list(zip(weights.layers, self._keys, self._values, strict=True))[:blocks]:
            attend.keys, attend.values = keys, values
            x = layer_forward(x, layer, shape, mix)
        return x[: len(flat)]

    def rewind(self, row: int, length: int) -> None:
        del self.rows[row][length:]

    def widen(self, rows: int) -> None:
        if rows > len(self.rows):
            self._grow(rows, self._keys[0].shape[1])
            self.rows += [[] for _ in range(rows - len(self.rows))]

    def assign(self, targets: Sequence[int], sources: Sequence[int]) -> None:
        moved = [(t, s) for t, s in zip(targets, sources, strict=True) if t != s]
        if not moved:
            return
        to, used = torch.tensor([t for t, _ in moved], device=self._device), max(len(self.rows[s]) for _, s in moved)
        taken = torch.tensor([s for _, s in moved], device=self._device)
        for tensor in (*self._keys, *self._values):
            tensor[to, :used] = tensor[taken, :used]
        copies = [list(self.rows[s]) for _, s in moved]
        for (target, _), ids in zip(moved, copies, strict=True):
            self.rows[target] = ids

    def copy_out(self, row: int, start: int, stop: int) -> Tensor:
        return torch.stack([tensor[row, start:stop] for tensor in (*self._keys, *self._values)], dim=1)

    def copy_in(self, row: int, tokens: Sequence[int], computed: Tensor) -> None:
        start = len(self.rows[row])
        self._reserve(start + len(tokens))
        for index, tensor in enumerate((*self._keys, *self._values)):
            tensor[row, start : start + len(tokens)] = computed[:, index]
        self.rows[row].extend(tokens)

    def logits(self, hidden: Tensor) -> Tensor:
        return self._weights.head(hidden)


class RecomputingSession:
    """Slow session for any Hugging Face causal LM: every append runs the whole rows again."""

    def __init__(self, model: CausalLM, *, rows: int, capacity: int) -> None:
        self.rows: list[list[int]] = [[] for _ in range(rows)]
        self._model, self._capacity = model, capacity

    def append(self, rows: Sequence[int], tokens: Sequence[Sequence[int]], keep: Sequence[int]) -> list[Tensor]:
        for row, ids in zip(rows, tokens, strict=True):
            self.rows[row].extend(ids)
        hidden = self._states(rows)[-1]
        return [
            hidden[n, len(self.rows[r]) - k : len(self.rows[r])]
            for n, (r, k) in enumerate(zip(rows, keep, strict=True))
        ]

    def reread(self, rows: Sequence[int], starts: Sequence[int], layer: int) -> list[Tensor]:
        hidden = self._states(rows)[layer]
        return [hidden[n, start : len(self.rows[r])] for n, (r, start) in enumerate(zip(rows, starts, strict=True))]

    def _states(self, rows: Sequence[int]) -> Sequence[Tensor]:
        """[rows, longest, hidden] before the first block and after each; of the last, after the final norm."""
        longest = max(len(self.rows[row]) for row in rows)
        if longest > self._capacity:
            raise ValueError(f"a row of {longest} tokens does not fit the context of {self._capacity}")
        device = next(self._model.parameters()).device
        ids_NT = torch.zeros((len(rows), longest), dtype=torch.long, device=device)
        mask_NT = torch.zeros_like(ids_NT)
        for number, row in enumerate(rows):
            ids_NT[number, : len(self.rows[row])] = torch.tensor(self.rows[row], device=device)
            mask_NT[number, : len(self.rows[row])] = 1
        output = self._model(input_ids=ids_NT, attention_mask=mask_NT, output_hidden_states=True, use_cache=False)
        states: Sequence[Tensor] = output.hidden_states
        return states

    def rewind(self, row: int, length: int) -> None:
        del self.rows[row][length:]

    def widen(self, rows: int) -> None:
        self.rows += [[] for _ in range(rows - len(self.rows))]

    def assign(self, targets: Sequence[int], sources: Sequence[int]) -> None:
        copies = [list(self.rows[source]) for source in sources]
        for target, ids in zip(targets, copies, strict=True):
            self.rows[target] = ids

    def copy_out(self, row: int, start: int, stop: int) -> Tensor:
        return torch.empty((stop - start, 0))

    def copy_in(self, row: int, tokens: Sequence[int], computed: Tensor) -> None:
        self.rows[row].extend(tokens)

    def logits(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self._model.get_output_embeddings()(hidden)
        return logits
