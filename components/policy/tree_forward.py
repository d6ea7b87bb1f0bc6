"""One forward over a forest of prefix trees. Takes weights and a forest; gives the final hidden state of every node.

The forest lies on the device of the weights.

Two forms with one result: the lean Llama forward, and any Hugging Face causal LM that takes a 4-D attention mask and
position ids, which the tests hold to be the truth. It computes no logits and no loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from components.policy import kernels
from components.policy.llama import LlamaWeights, evened, layer_forward, normalise, turned_heads
from components.policy.model_type import CausalLM
from components.policy.prefix_tree import Forest


class States:
    """Final hidden states of sequences that share nodes."""

    def __init__(self, nodes: Tensor, forest: Forest) -> None:
        """nodes [nodes, hidden]"""
        self.nodes, self._forest = nodes, forest

    def places(self, places: Sequence[tuple[int, int]]) -> Tensor:
        """The node of each (sequence, position)."""
        found = [self._forest.node(sequence, position) for sequence, position in places]
        return torch.tensor(found, dtype=torch.long, device=self.nodes.device)

    def distinct(self, places: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
        """The distinct nodes of the places, in order, and which of them each place has."""
        found = [self._forest.node(sequence, position) for sequence, position in places]
        nodes, which = np.unique(np.array(found, dtype=np.int64), return_inverse=True)
        device = self.nodes.device
        return torch.tensor(nodes, device=device), torch.tensor(which, device=device)

    def at(self, places: Sequence[tuple[int, int]]) -> Tensor:
        """[len(places), hidden] at each (sequence, position)"""
        return self.nodes.index_select(0, self.places(places))


def llama_states(weights: LlamaWeights, forest: Forest) -> Tensor:
    """[nodes, hidden] after the final norm, without its gain (the head holds it)."""
    shape, positions = weights.shape, forest.positions
    cos, sin = weights.cos[positions].unsqueeze(1), weights.sin[positions].unsqueeze(1)

    def attend(read: Tensor) -> Tensor:
        queries, keys, values = turned_heads(read, shape, cos, sin)
        if kernels.usable(read):
            return kernels.tree_attention(queries, keys, values, forest.starts, forest.ends)[0].flatten(1)
        return padded_attention(queries, keys, values, forest)

    x, mix = evened(weights.embedding[forest.ids], attend, packed=weights.packed)
    for layer in weights.layers:
        x = layer_forward(x, layer, shape, mix)
    return normalise(x, shape.norm_eps)[: len(forest.ids)]


def padded_attention(queries: Tensor, keys: Tensor, values: Tensor, forest: Forest) -> Tensor:
    """Grouped-query attention along the trees by torch, over the padded grid. Like `kernels.tree_attention`."""
    mask = forest.mask(queries.dtype).unsqueeze(1)
    q, k, v = (forest.pad(t).transpose(1, 2) for t in (queries, keys, values))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
    return forest.flat(out.transpose(1, 2)).flatten(1)


@torch.no_grad()
def any_blocks(model: CausalLM, forest: Forest, blocks: Sequence[int]) -> list[Tensor]:
    """[nodes, hidden] after each of some blocks (the first is 1, short of the last), by the Hugging Face module."""
    hidden_states = _output(model, forest, every=True).hidden_states
    return [forest.flat(hidden_states[block]) for block in blocks]


def any_states(model: CausalLM, forest: Forest) -> Tensor:
    """[nodes, hidden] after the final norm, by the Hugging Face module itself; differentiable."""
    return forest.flat(_output(model, forest, every=False).last_hidden_state)


def _output(model: CausalLM, forest: Forest, *, every: bool) -> Any:
    """What the module gives for the padded trees; with the states after each block if `every`."""
    return model.base_model(
        input_ids=forest.pad(forest.ids),
        position_ids=forest.pad(forest.positions),
        attention_mask=forest.mask(next(model.parameters()).dtype).unsqueeze(1),
        use_cache=False,
        output_hidden_states=every,
    )
