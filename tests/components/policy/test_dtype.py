"""Compute types: what a model computes in here, what it is written in, and that either runs on every processor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import byte_tokenizer, tiny_llama

from components.policy import llama
from components.policy.load import compute_dtype, kept_dtype, load_model, round_weights, save_model
from components.policy.prefix_tree import plant
from components.policy.settings import PolicySettings
from components.policy.tree_forward import llama_states

SEQUENCES = [(1, 5, 9, 4, 7), (1, 5, 9, 2), (3, 3, 8, 1, 2, 6)]
HERE = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_packed_model_runs_in_either_type_on_every_processor(dtype: torch.dtype) -> None:
    model = tiny_llama(1, vocabulary=16).to(dtype)
    weights = llama.pack(model)
    forest = plant(SEQUENCES)
    nodes = llama_states(weights, forest)
    with torch.no_grad():
        for number, ids in enumerate(SEQUENCES):
            theirs = model(torch.tensor([ids])).logits[0].float()
            places = [forest.node(number, position) for position in range(len(ids))]
            torch.testing.assert_close(weights.head(nodes[places]).float(), theirs, atol=3e-2, rtol=3e-2)


def test_auto_computes_in_bf16_only_where_it_is_multiplied_natively() -> None:
    native = llama.multiplies_bf16(HERE)
    assert compute_dtype(PolicySettings(device="cpu")) == (torch.bfloat16 if native else torch.float32)


@pytest.mark.parametrize("name", ["bfloat16", "float32"])
def test_a_type_asked_for_by_name_is_what_computes_and_what_is_kept(name: str) -> None:
    settings = PolicySettings.model_validate({"dtype": name})
    assert compute_dtype(settings) == kept_dtype(settings) == getattr(torch, name)


def test_weights_computed_in_fp32_are_kept_in_bf16_and_read_as_they_were_rounded(tmp_path: Path) -> None:
    model = tiny_llama(2)
    round_weights(model, torch.bfloat16)
    save_model(model, byte_tokenizer(), tmp_path, dtype=torch.bfloat16)
    assert next(model.parameters()).dtype == torch.float32, "the model itself stays as it is"
    assert {tensor.dtype for tensor in load_file(tmp_path / "model.safetensors").values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    read, _ = load_model(tmp_path, PolicySettings(dtype="float32"))
    for (name, mine), theirs in zip(model.named_parameters(), read.parameters(), strict=True):
        assert torch.equal(mine, theirs), name
