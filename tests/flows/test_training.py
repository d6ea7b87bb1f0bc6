"""What the training stages share."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import byte_tokenizer, tiny_llama

from components.policy.load import save_model
from components.policy.policy import Policy
from flows.shared.params import load_params
from flows.shared.paths import Paths
from flows.shared.registry import Registry
from flows.shared.stage import StageRun
from flows.shared.training import load_trainable


@pytest.mark.parametrize("backend", ["torch", "vllm"])
def test_training_computes_with_torch_and_says_so_when_a_server_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], backend: str
) -> None:
    paths, letters = Paths(tmp_path), byte_tokenizer()
    settings = f"backend: {backend}, vllm_url: 'http://127.0.0.1:9', threads: 1, dtype: float32"
    paths.params.write_text(f"policy: {{{settings}}}\n")
    save_model(tiny_llama(vocabulary=len(letters), layers=1), letters, tmp_path / "model")
    registry = Registry(paths, experiment="test", model="test")
    run = StageRun("clone", paths, load_params(paths), registry, "none")
    policy = load_trainable(run, tmp_path / "model")
    assert isinstance(policy, Policy)
    assert policy.policy_id == "clone"
    assert ("policy.backend is vllm" in capsys.readouterr().out) == (backend == "vllm")
