"""The decision head: it decides at roots, where it knows what is on offer, and nowhere else."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_models import chat, leaning_llama, specs_of, tiny_llama, tiny_other, tiny_policy
from torch import Tensor

from components.policy.decision_head import DecisionHead, read_decisions, write_decisions
from components.policy.load import load_policy, save_model
from components.policy.policy import Policy
from components.policy.settings import PolicySettings
from components.policy.turn import GenerateRequest
from components.records.codec import from_json, to_json
from components.records.manifest import BadModelFolder
from components.schema.trajectory import ANSWER, Action, StopReason
from components.training.finish import read_drafts

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


# Heads that read the draft of the answer ------------------------------------------------------------------------------


def _drafting(policy: Policy, *biases: float, weight: Tensor | None = None, layer: int | None = None) -> Policy:
    """`policy` with a head that reads drafts after `layer`; without `weight` the biases alone decide."""
    features = 2 * int(policy.model.config.hidden_size)
    read = torch.zeros(len(NAMES), features) if weight is None else weight
    policy.decision_head = DecisionHead(NAMES, read, torch.tensor(biases), 0.5, drafts=True, layer=layer)
    return policy


def _told(request: GenerateRequest) -> tuple[GenerateRequest, list[tuple[str, list[int]]]]:
    heard: list[tuple[str, list[int]]] = []
    return replace(request, heard=lambda decision, tokens: heard.append((decision, list(tokens)))), heard


@pytest.mark.parametrize("layer", [None, 1])
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_a_draft_is_decided_by_the_head_on_the_features_that_trainers_read(family: str, layer: int | None) -> None:
    policy, request = _policy(family), _request(at_root=True)
    width = 2 * int(policy.model.config.hidden_size)
    weight = torch.randn(3, width, generator=torch.Generator().manual_seed(2))
    (answer,) = policy.generate([replace(request, decision=ANSWER)])
    draft = answer.message.token_ids or ()
    ((feature,),) = read_drafts(policy.model, [request.context_ids], [draft], (layer,), tokens_per_pass=512)
    expected = ((weight @ feature + torch.tensor([0.0, 1.0, 2.0])) / 0.5).softmax(0).tolist()
    (action,) = _drafting(policy, 0.0, 1.0, 2.0, weight=weight, layer=layer).generate([request])
    assert action.decision_probs == pytest.approx(dict(zip(NAMES, expected, strict=True)), abs=2e-3)
    assert action.decision == NAMES[expected.index(max(expected))]


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_a_draft_that_is_kept_is_the_answer_and_costs_nothing_more(family: str) -> None:
    request, heard = _told(_request(at_root=True))
    (forced,) = _policy(family).generate([replace(request, decision=ANSWER, heard=None)])
    (action,) = _drafting(_policy(family), 5.0, 0.0, 0.0).generate([request])
    assert (action.decision, action.message, action.stop) == (ANSWER, forced.message, forced.stop)
    assert action.draft is None
    assert action.tokens_written == len(forced.message.token_ids or ())
    assert heard == [(ANSWER, list(forced.message.token_ids or ()))]


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_a_draft_that_is_left_does_not_show_in_the_call_and_is_paid_for(family: str) -> None:
    request, heard = _told(_request(at_root=True))
    plain = _policy(family)
    (forced,) = plain.generate([replace(request, decision="search", heard=None)])
    (answer,) = plain.generate([replace(request, decision=ANSWER, heard=None)])
    (action,) = _drafting(_policy(family), 0.0, 5.0, 0.0).generate([request])
    assert (action.decision, action.message, action.call) == ("search", forced.message, forced.call)
    assert action.logprobs == pytest.approx(forced.logprobs, abs=1e-3)
    assert action.draft == answer.message
    assert action.tokens_written == len(forced.message.token_ids or ()) + len(answer.message.token_ids or ())
    assert {decision for decision, _ in heard} == {"search"}
    assert [token for _, tokens in heard for token in tokens] == list(forced.message.token_ids or ())
    assert from_json(Action, to_json(action)) == action


@pytest.mark.parametrize("layer", [None, 1])
def test_drafts_side_by_side_become_what_each_becomes_alone(layer: int | None) -> None:
    weight = torch.randn(3, 128, generator=torch.Generator().manual_seed(3)) * 4
    specs = specs_of(("search", "python"))
    requests = [
        GenerateRequest(
            chat().prompt_ids(f"What is {n} and {n * n}?", specs), specs, at_root=n % 4 > 0, max_answer_tokens=4 + n % 7
        )
        for n in range(14)
    ]
    alone = [
        _drafting(_policy(), 0.0, 0.5, 0.0, weight=weight, layer=layer).generate([request])[0] for request in requests
    ]
    together = _drafting(_policy(), 0.0, 0.5, 0.0, weight=weight, layer=layer).generate(requests)
    assert [(a.decision, a.message, a.draft) for a in together] == [(a.decision, a.message, a.draft) for a in alone]
    left = [action.draft is not None for action in together]
    kept = [a.decision == ANSWER for a, request in zip(together, requests, strict=True) if request.at_root]
    assert any(left), "some drafts are left for calls"
    assert any(kept), "and some are kept"


def test_nothing_is_drafted_where_the_head_has_no_say() -> None:
    drafting, plain = _drafting(_policy(), 5.0, 0.0, 0.0), _policy()
    for request in (
        _request(at_root=False),
        _request(at_root=True, names=("search", "delegate")),
        replace(_request(at_root=True), must_call=True),
        replace(_request(at_root=True), decision="search"),
    ):
        assert drafting.generate([request]) == plain.generate([request])
    root = _request(at_root=True)
    assert drafting.decide([root]) == plain.decide([root])


def test_a_draft_that_nobody_wants_any_more_ends_as_it_stands() -> None:
    gone = threading.Event()
    gone.set()
    (action,) = _drafting(_policy(), 0.0, 5.0, 0.0).generate([replace(_request(at_root=True), cancelled=gone)])
    assert (action.decision, action.stop, action.draft) == (ANSWER, StopReason.CANCELLED, None)


def test_a_head_that_reads_drafts_comes_back_from_its_file_and_only_for_its_model(tmp_path: Path) -> None:
    head = DecisionHead(NAMES, torch.ones(3, 128), torch.zeros(3), 0.5, drafts=True, layer=18)
    write_decisions(tmp_path, head)
    found = read_decisions(tmp_path, features=64)
    assert found is not None
    assert (found.drafts, found.layer) == (True, 18)
    with pytest.raises(BadModelFolder, match="reads 128 features where the model gives 256"):
        read_decisions(tmp_path, features=128)


def test_a_head_of_another_model_is_refused(tmp_path: Path) -> None:
    write_decisions(tmp_path, _head())
    with pytest.raises(BadModelFolder, match="reads 64 features where the model gives 32"):
        read_decisions(tmp_path, features=32)
