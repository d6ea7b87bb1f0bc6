"""LoRA: adapters alone learn, every forward sees them, and in the end a plain model holds what they learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import byte_tokenizer, tiny_llama, tiny_other
from torch import nn

from components.policy import llama
from components.policy.load import load_model, save_model
from components.policy.settings import PolicySettings
from components.policy.tree_forward import States, llama_states
from components.training.adapters import close_training, open_training
from components.training.examples import Example
from components.training.forward import hidden_states
from components.training.imitate import imitate
from components.training.optimiser import MasterAdamW
from components.training.settings import CloneSettings

VOCABULARY = 97
EXAMPLES = [Example(ids=(7, 8, 9, k, k + 1, k + 2), answers=(3, 4, 5), firsts=(3,)) for k in range(10, 40, 3)]
SEQUENCES = [(1, 2, 3, 4), (1, 2, 5), (7, 8)]


def _model(dtype: torch.dtype = torch.float32) -> Any:
    return tiny_llama(6, layers=3, vocabulary=VOCABULARY).to(dtype)


def _settings(**changes: Any) -> CloneSettings:
    return CloneSettings(
        **{"steps": 6, "learning_rate": 1e-2, "warmup_steps": 2, "trained_layers": 2, "lora_rank": 4, **changes}
    )


def _batch(step: int) -> list[Example]:
    return [EXAMPLES[(3 * step + k) % len(EXAMPLES)] for k in range(3)]


def _adapted(dtype: torch.dtype = torch.float32) -> Any:
    """A model whose adapters already say something."""
    model = _model(dtype)
    open_training(model, _settings(), seed=3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, 0.05, generator=torch.Generator().manual_seed(len(name)))
    return model


def test_only_adapters_on_the_linears_of_the_upper_blocks_learn() -> None:
    model = _model()
    layers = open_training(model, _settings(), seed=0)
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    projections = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    assert layers == (1, 2)
    assert {(name.split(".")[2], name.split(".")[4]) for name in learning} == {
        (layer, projection) for layer in "12" for projection in projections
    }
    assert all(".lora_A." in name or ".lora_B." in name for name in learning)


def test_a_step_changes_nothing_but_adapters() -> None:
    model = _model()
    open_training(model, _settings(), seed=0)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimiser = MasterAdamW(model, learning_rate=1e-2, warmup_steps=0, total_steps=6, max_grad_norm=1.0)
    for _ in range(2):  # in the first one B moves away from zero, in the second A learns as well
        hidden_states(model, SEQUENCES).nodes.square().sum().backward()
        optimiser.step()
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == {name for name in before if ".lora_" in name}


def test_before_the_first_step_adapters_change_nothing() -> None:
    plain, model = _model(), _model()
    open_training(model, _settings(), seed=0)
    ids = torch.tensor([SEQUENCES[0]])
    assert torch.equal(model(ids).logits, plain(ids).logits)


@torch.no_grad()
def test_training_and_acting_see_the_model_with_its_adapters() -> None:
    model = _adapted()
    trained, weights = hidden_states(model, SEQUENCES), llama.pack(model)
    forest_states = llama_states(weights, trained._forest)
    for row, ids in enumerate(SEQUENCES):
        places = [(row, position) for position in range(len(ids))]
        plain = model(torch.tensor([ids])).logits[0]
        assert not torch.allclose(plain, _model()(torch.tensor([ids])).logits[0], atol=1e-2)
        assert torch.allclose(model.lm_head(trained.at(places)), plain, atol=1e-4)
        assert torch.allclose(weights.head(States(forest_states, trained._forest).at(places)), plain, atol=1e-4)


@torch.no_grad()
def test_packing_does_not_touch_the_adapters() -> None:
    model = _adapted()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    llama.pack(model)
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


@torch.no_grad()
def test_the_merged_model_is_plain_and_says_what_the_adapted_one_said(tmp_path: Path) -> None:
    model = _adapted()
    adapted = model(torch.tensor([SEQUENCES[0]])).logits
    close_training(model)
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in _model().named_parameters()]
    assert all(type(module) is nn.Linear for module in model.modules() if isinstance(module, nn.Linear))
    save_model(model, byte_tokenizer(), tmp_path / "model")
    loaded, _ = load_model(tmp_path / "model", PolicySettings(dtype="float32", threads=1, device="cpu"))
    assert float((loaded(torch.tensor([SEQUENCES[0]])).logits - adapted).abs().max()) <= 1e-5


def test_adapters_lower_the_loss() -> None:
    losses: list[float] = []
    model, settings = _model(), _settings(steps=30)
    imitate(model, lambda step: EXAMPLES, settings, call_token=5, report=lambda s, m: losses.append(m["loss/answer"]))
    assert losses[-1] < 0.7 * losses[0]
    assert sum(not torch.equal(a, b) for a, b in zip(model.parameters(), _model().parameters(), strict=True)) == 14


def test_the_family_without_a_fast_forward_learns_by_adapters_too() -> None:
    losses: list[float] = []
    imitate(
        tiny_other("qwen2"),
        lambda step: EXAMPLES,
        _settings(steps=12, trained_layers=1),
        call_token=5,
        report=lambda s, m: losses.append(m["loss/answer"]),
    )
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("until", "every"), [(3, 1), (5, 2)])
def test_a_killed_training_resumes_to_exactly_the_same_weights(
    tmp_path: Path, dtype: torch.dtype, until: int, every: int
) -> None:
    class Killed(Exception):  # noqa: N818
        pass

    def dies(step: int) -> list[Example]:
        if step == until:
            raise Killed
        return _batch(step)

    settings, folder = _settings(checkpoint_every=every), tmp_path / "checkpoint"
    straight, killed, resumed = _model(dtype), _model(dtype), _model(dtype)
    imitate(straight, _batch, settings, call_token=5, seed=1)
    with pytest.raises(Killed):
        imitate(killed, dies, settings, call_token=5, seed=1, checkpoint=folder)
    imitate(resumed, _batch, settings, call_token=5, seed=1, checkpoint=folder)
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters(), strict=True))


def test_the_seed_chooses_the_first_adapters() -> None:
    models = [_model() for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        open_training(model, _settings(), seed=seed)
    first, same, other = ([p for n, p in model.named_parameters() if "lora_A" in n] for model in models)
    assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
