"""The decision head: it decides at roots, where it knows what is on offer, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import chat, leaning_llama, specs_of, tiny_llama, tiny_other, tiny_policy

from components.policy.decision_head import DecisionHead, read_decisions, write_decisions
from components.policy.load import load_policy, save_model
from components.policy.policy import Policy
from components.policy.settings import PolicySettings
from components.policy.turn import GenerateRequest
from components.records.manifest import BadModelFolder
from components.schema.trajectory import ANSWER

NAMES = (ANSWER, "search", "python")


def _head(features: int = 64) -> DecisionHead:
    weight = torch.randn(len(NAMES), features, generator=torch.Generator().manual_seed(1))
    return DecisionHead(NAMES, weight, torch.arange(len(NAMES)).float(), 0.5)


def _request(*, at_root: bool, names: tuple[str, ...] = ("search", "python")) -> GenerateRequest:
    specs = specs_of(names)
    return GenerateRequest(chat().prompt_ids("What is the capital of Chad?", specs), specs, at_root=at_root)


def _policy(family: str = "llama") -> Policy:
    return tiny_policy(leaning_llama() if family == "llama" else tiny_other(family))


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_a_root_is_decided_by_the_head_on_the_features_that_trainers_read(family: str) -> None:
    policy, request = _policy(family), _request(at_root=True)
    (feature,) = policy.features([request.context_ids])
    head = _head(len(feature))
    policy.decision_head = head
    expected = ((head.weight @ feature + head.bias) / 0.5).softmax(0).tolist()
    (found,) = policy.decide([request])
    assert found == pytest.approx(dict(zip(NAMES, expected, strict=True)), abs=1e-3)
    (action,) = policy.generate([request])
    assert action.decision == max(found, key=lambda name: found[name])
    assert action.decision_probs == pytest.approx(found)


def test_later_states_and_tools_that_it_does_not_know_are_left_to_the_model() -> None:
    plain, headed = _policy(), _policy()
    headed.decision_head = _head()
    for request in (_request(at_root=False), _request(at_root=True, names=("search", "delegate"))):
        assert headed.decide([request]) == plain.decide([request])


def test_of_the_decisions_that_it_knows_only_those_on_offer_share_the_chance() -> None:
    probs = _head().probs(torch.zeros(64), {ANSWER: 0.9, "python": 0.1})
    assert sum(probs.values()) == pytest.approx(1.0)
    assert probs["python"] / probs[ANSWER] == pytest.approx(torch.tensor(2.0 / 0.5).exp().item())


def test_a_head_comes_back_from_its_file_and_with_the_policy(tmp_path: Path) -> None:
    model = tiny_llama()
    save_model(model, chat().tokenizer, tmp_path)
    assert read_decisions(tmp_path, features=64) is None
    write_decisions(tmp_path, _head())
    policy = load_policy(tmp_path, PolicySettings(dtype="float32", device="cpu"))
    found = policy.decision_head
    assert found is not None
    assert (found.names, found.temperature) == (NAMES, 0.5)
    assert torch.equal(found.weight, _head().weight)
    assert torch.equal(found.bias, _head().bias)


def test_a_head_of_another_model_is_refused(tmp_path: Path) -> None:
    write_decisions(tmp_path, _head())
    with pytest.raises(BadModelFolder, match="reads 64 features where the model has 32"):
        read_decisions(tmp_path, features=32)
