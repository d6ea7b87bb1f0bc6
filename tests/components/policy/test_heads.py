"""Heads on the model's features: what they read, what they give, and how they are kept beside the model."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from doubles import make_problem
from tiny_models import leaning_llama, specs_of, tiny_other, tiny_policy

from components.environment.step import start
from components.policy.heads import (
    VALUES,
    Q,
    QHead,
    StateValue,
    ValueHeads,
    read_q,
    read_values,
    score_actions,
    score_states,
    write_q,
    write_values,
)
from components.policy.propose import make_propose
from components.records.manifest import BadModelFolder, read_manifest, verify_manifest, write_manifest
from components.search.settings import SelfplaySettings

SEQUENCES = ((5, 6, 7, 8), (5, 6, 9), (11, 12))


def _heads() -> ValueHeads:
    heads = ValueHeads(64, 8, seed=3)
    with torch.no_grad():
        for number, parameter in enumerate(heads.parameters()):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    return heads


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_features_are_the_models_own_last_states(family: str) -> None:
    model = leaning_llama() if family == "llama" else tiny_other(family)
    found = tiny_policy(model, prefill_tokens=64).features(SEQUENCES)
    for row, ids in enumerate(SEQUENCES):
        with torch.no_grad():
            slow = model.base_model(torch.tensor([ids])).last_hidden_state[0, -1]
        assert torch.allclose(found[row], slow, atol=1e-4)


def test_a_sequence_longer_than_the_model_reads_is_refused() -> None:
    policy = tiny_policy()
    with pytest.raises(ValueError, match="do not fit the context of 1024"):
        policy.features([(5,) * 1025])


def test_new_heads_prefer_nothing() -> None:
    values = score_states(tiny_policy(), ValueHeads(64, 8), SEQUENCES)
    assert values == [StateValue(pytest.approx(0.5), pytest.approx(math.log(2.0)))] * 3
    assert score_actions(tiny_policy(), QHead(64, 8, low=-0.7, high=1.3), SEQUENCES) == pytest.approx([0.3] * 3)


def test_the_price_moves_a_value_without_the_heads() -> None:
    value = StateValue(solved=0.8, cost=2.0)
    assert (value.net(0.0), value.net(0.3)) == pytest.approx((0.8, 0.2))


def test_a_search_reads_the_heads_at_the_end_of_each_context() -> None:
    policy, heads, state = tiny_policy(), _heads(), start(make_problem())
    (value,) = score_states(policy, heads, [policy.chat.context_ids(state, specs_of(state.problem.tool_names))])
    proposer = make_propose(policy, specs_of(state.problem.tool_names), SelfplaySettings())
    assert proposer.values_by(policy, heads)([state]) == [pytest.approx((value.solved, value.cost), abs=1e-5)]


def test_heads_come_back_as_they_were_written_and_the_manifest_lists_them(tmp_path: Path) -> None:
    heads, q = _heads(), QHead(64, 8, low=-2.0, high=0.5)
    write_values(tmp_path, heads)
    write_q(tmp_path, q)
    assert write_manifest(tmp_path) == verify_manifest(tmp_path)
    assert set(read_manifest(tmp_path)["files"]) == {VALUES, Q}
    found, q_found = read_values(tmp_path, features=64), read_q(tmp_path, features=64)
    assert found is not None
    assert q_found is not None
    assert (q_found.low, q_found.high) == (-2.0, 0.5)
    assert score_states(tiny_policy(), found, SEQUENCES) == score_states(tiny_policy(), heads, SEQUENCES)


def test_a_folder_without_heads_has_none(tmp_path: Path) -> None:
    assert read_values(tmp_path, features=64) is None
    assert read_q(tmp_path, features=64) is None


def test_heads_of_another_model_are_refused_by_name(tmp_path: Path) -> None:
    write_values(tmp_path, _heads())
    with pytest.raises(BadModelFolder, match=r"values\.safetensors reads 64 features where the model has 576"):
        read_values(tmp_path, features=576)


def test_a_truncated_file_of_heads_is_refused_by_name(tmp_path: Path) -> None:
    write_q(tmp_path, QHead(64, 8, low=0.0, high=1.0))
    (tmp_path / Q).write_bytes((tmp_path / Q).read_bytes()[:-4])
    with pytest.raises(BadModelFolder, match=r"q\.safetensors is truncated"):
        read_q(tmp_path, features=64)
