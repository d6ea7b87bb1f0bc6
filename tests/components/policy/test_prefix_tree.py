"""Prefix trees: every sequence is in one tree, shared tokens once, and models see what they saw of the sequences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny_llama, tiny_other

from components.policy.llama import pack as pack_weights
from components.policy.prefix_tree import Forest, nodes_in, pack, passes, plant
from components.policy.tree_forward import States, any_states, llama_states

SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12).map(tuple), min_size=1, max_size=12)
PROMPT = (5, 6, 7, 8, 9, 10)
FAMILY = [(*PROMPT, 1, 2, 3), (*PROMPT, 1, 2, 4, 11), (*PROMPT, 12), PROMPT, (*PROMPT, 1, 2, 3), (20, 21), (20, 22, 23)]


@given(SEQUENCES, st.integers(1, 40))
def test_every_sequence_can_be_read_back_from_exactly_one_tree(sequences: list[tuple[int, ...]], limit: int) -> None:
    seen = []
    for tree in pack(sequences, limit=limit):
        for member, path in zip(tree.members, tree.paths, strict=True):
            seen.append(member)
            assert tuple(tree.ids[node] for node in path) == sequences[member]
            assert [tree.positions[node] for node in path] == list(range(len(path)))
        assert len(tree) <= max(limit, max(len(sequences[m]) for m in tree.members))
    assert sorted(seen) == list(range(len(sequences)))


@given(SEQUENCES)
def test_a_node_may_attend_to_its_prefix_and_to_nothing_else(sequences: list[tuple[int, ...]]) -> None:
    forest = plant(sequences)
    allowed = forest.allowed()
    for tree, _, path in forest.where:
        for place, node in enumerate(path):
            assert allowed[tree, node].nonzero().flatten().tolist() == sorted(path[: place + 1])


def test_what_is_shared_is_held_once() -> None:
    (tree, *others) = pack(FAMILY)
    assert len(tree) + sum(map(len, others)) == nodes_in(FAMILY) == len({s[:n] for s in FAMILY for n in range(1, 12)})


def test_sequences_that_share_too_little_are_not_attended_together() -> None:
    strangers = [(0, *range(k * 1000, k * 1000 + 500)) for k in range(1, 4)]
    assert [len(tree) for tree in pack(strangers, limit=5000)] == [501] * 3
    friends = [(*range(300), *range(k * 1000, k * 1000 + 40)) for k in range(1, 4)]
    assert [len(tree) for tree in pack(friends, limit=5000)] == [420]


@given(SEQUENCES, st.integers(1, 40))
def test_passes_hold_every_sequence_once_and_stay_under_their_size(
    sequences: list[tuple[int, ...]], limit: int
) -> None:
    groups = passes(sequences, limit=limit)
    assert sorted(index for group in groups for index in group) == list(range(len(sequences)))
    for group in groups:
        assert len(group) == 1 or nodes_in([sequences[i] for i in group]) <= limit


def test_an_empty_sequence_is_refused_by_its_number() -> None:
    with pytest.raises(ValueError, match="sequence 1 is empty"):
        pack([(1,), ()])


def test_padding_keeps_every_node_in_its_place() -> None:
    forest = plant(FAMILY, limit=12)
    assert forest.trees > 1
    values = torch.arange(len(forest.ids)).unsqueeze(1) + 1
    assert torch.equal(forest.flat(forest.pad(values)), values)
    assert int((forest.pad(values) == 0).sum()) == forest.trees * forest.width - len(forest.ids)


def _model(family: str) -> Any:
    return tiny_llama(2, spread=0.2) if family == "llama" else tiny_other(family)


def _alone(model: Any, ids: tuple[int, ...]) -> torch.Tensor:
    states: torch.Tensor = model.base_model(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0]
    return states


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt_neox"])
@pytest.mark.parametrize("limit", [12, 1024])
def test_any_model_sees_in_a_tree_what_it_sees_in_each_sequence(family: str, limit: int) -> None:
    model, forest = _model(family), plant(FAMILY, limit=limit)
    states = States(any_states(model, forest), forest)
    for number, ids in enumerate(FAMILY):
        got = states.at([(number, position) for position in range(len(ids))])
        assert torch.allclose(got, _alone(model, ids), atol=1e-4)


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt_neox"])
def test_the_gradient_of_a_tree_is_the_sum_of_the_sequences_gradients(family: str) -> None:
    model, forest = _model(family), plant(FAMILY)
    width = int(model.config.hidden_size)
    weights = torch.randn(len(FAMILY), 12, width, generator=torch.Generator().manual_seed(0))
    learnt = {n: p for n, p in model.base_model.named_parameters() if p.requires_grad}
    states = States(any_states(model, forest), forest)
    fast = sum(
        (states.at([(n, p) for p in range(len(ids))]) * weights[n, : len(ids)]).sum() for n, ids in enumerate(FAMILY)
    )
    slow = sum((_alone(model, ids) * weights[n, : len(ids)]).sum() for n, ids in enumerate(FAMILY))
    ours = torch.autograd.grad(fast, list(learnt.values()))
    for name, one, other in zip(learnt, ours, torch.autograd.grad(slow, list(learnt.values())), strict=True):
        assert torch.allclose(one, other, atol=2e-3, rtol=1e-3), name


@settings(deadline=None, max_examples=15)
@given(SEQUENCES, st.sampled_from([4, 9, 1024]))
@torch.no_grad()
def test_the_lean_llama_forward_agrees_with_the_module_over_the_same_forest(
    sequences: list[tuple[int, ...]], limit: int
) -> None:
    model = tiny_llama(2, spread=0.2)
    forest = Forest(pack(sequences, limit=limit), count=len(sequences))
    lean = llama_states(pack_weights(model), forest) * model.model.norm.weight  # the lean head holds this gain
    assert torch.allclose(lean, any_states(model, forest), atol=1e-4)
