"""The base model: a wrong source ends in one readable line, a right one gives a folder that loads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_models import byte_tokenizer, specs_of, tiny_llama, tiny_other, tokenizer

from components.policy.base_model import BadBaseModel, export_base
from components.policy.load import load_policy
from components.policy.settings import PolicySettings
from components.policy.turn import GenerateRequest

SETTINGS = PolicySettings(dtype="float32", threads=1)


def _export(source: Path, folder: Path) -> str:
    with pytest.raises(BadBaseModel) as caught:
        export_base(str(source), folder, SETTINGS)
    assert not folder.exists()
    message = str(caught.value)
    assert "\n" not in message
    assert str(source) in message
    return message


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    assert "cannot be loaded" in _export(tmp_path / "missing", tmp_path / "out")


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "cannot be loaded" in _export(tmp_path / "empty", tmp_path / "out")


def test_a_broken_configuration_is_named(tmp_path: Path) -> None:
    source = tmp_path / "broken"
    source.mkdir()
    for text in ("{", json.dumps({"model_type": "abacus"}), json.dumps({})):
        (source / "config.json").write_text(text)
        assert "cannot be loaded" in _export(source, tmp_path / "out")


def test_weights_that_were_cut_off_are_named(tmp_path: Path) -> None:
    source = tmp_path / "cut"
    tiny_llama(vocabulary=97, layers=1).save_pretrained(source)
    weights = (source / "model.safetensors").read_bytes()
    (source / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    assert "cannot be loaded" in _export(source, tmp_path / "out")


def test_a_model_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    source = tmp_path / "mute"
    tiny_llama(vocabulary=97, layers=1).save_pretrained(source)
    assert "cannot be loaded" in _export(source, tmp_path / "out")


def test_a_local_model_of_another_family_is_exported_and_acts(tmp_path: Path) -> None:
    tiny_other("gpt_neox").save_pretrained(tmp_path / "source")
    tokenizer().save_pretrained(tmp_path / "source")
    export_base(str(tmp_path / "source"), tmp_path / "out", SETTINGS)
    policy = load_policy(tmp_path / "out", SETTINGS)
    assert policy.model.config.model_type == "gpt_neox"
    specs = specs_of(["search"])
    request = GenerateRequest(policy.chat.prompt_ids("Why?", specs), specs, decision="search", max_argument_tokens=8)
    (action,) = policy.generate([request])
    assert action.message.content.startswith('<tool_call>{"name": "search"')


def test_a_local_model_is_exported_and_loads_as_the_same_policy(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    model = tiny_llama(layers=1, vocabulary=len(tokenizer))
    model.save_pretrained(tmp_path / "source")
    tokenizer.save_pretrained(tmp_path / "source")
    export_base(str(tmp_path / "source"), tmp_path / "out", SETTINGS)
    policy = load_policy(tmp_path / "out", SETTINGS)
    assert policy.policy_id == "out"
    assert policy.chat.decode(policy.chat.prompt_ids("Why?", ())) == "User: Why?\nAssistant: "
    assert all(
        (ours == theirs).all() for ours, theirs in zip(policy.model.parameters(), model.parameters(), strict=True)
    )
