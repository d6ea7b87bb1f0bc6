"""The optimiser: schedule, clipping, and checkpoints that a kill at any moment leaves loadable."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from tiny_models import tiny_llama

from components.training.examples import Example
from components.training.imitate import imitate
from components.training.optimiser import MasterAdamW, freeze_lower
from components.training.settings import CloneSettings

VOCABULARY = 97
EXAMPLES = [Example(ids=(7, 8, 9, k, k + 1, k + 2), answers=(3, 4, 5), firsts=(3,)) for k in range(10, 40, 3)]


def _model(dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    return tiny_llama(6, vocabulary=VOCABULARY).to(dtype)


def _settings(steps: int = 6, **changes: object) -> CloneSettings:
    return CloneSettings(steps=steps, learning_rate=1e-2, warmup_steps=2, trained_layers=1, **changes)


def _train(model: torch.nn.Module, *, checkpoint: Path | None = None, until: int | None = None, every: int = 1) -> None:
    """Six steps; the process dies when step `until` is asked for."""

    class Killed(Exception):  # noqa: N818
        pass

    def batch_of(step: int) -> list[Example]:
        if step == until:
            raise Killed
        return [EXAMPLES[(3 * step + k) % len(EXAMPLES)] for k in range(3)]

    try:
        imitate(model, batch_of, _settings(checkpoint_every=every), call_token=5, checkpoint=checkpoint)
    except Killed:
        return


def _optimiser(model: torch.nn.Module) -> MasterAdamW:
    freeze_lower(model, 1)
    return MasterAdamW(model, learning_rate=1e-2, warmup_steps=2, total_steps=6, max_grad_norm=1.0)


def _one_step(model: torch.nn.Module, optimiser: MasterAdamW, scale: float = 1.0) -> float:
    (scale * model(torch.tensor([EXAMPLES[0].ids])).logits.float().logsumexp(-1).sum()).backward()
    return optimiser.step()


def _same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("until", "every"), [(3, 1), (5, 2), (1, 2)])
def test_a_killed_training_resumes_to_exactly_the_same_weights(
    tmp_path: Path, dtype: torch.dtype, until: int, every: int
) -> None:
    straight, killed, resumed = _model(dtype), _model(dtype), _model(dtype)
    _train(straight)
    _train(killed, checkpoint=tmp_path / "checkpoint", until=until, every=every)
    assert not _same(killed, straight)
    _train(resumed, checkpoint=tmp_path / "checkpoint", every=every)
    assert _same(resumed, straight)


def test_a_checkpoint_killed_while_it_is_replaced_leaves_the_one_before(tmp_path: Path) -> None:
    folder, old = tmp_path / "checkpoint", tmp_path / "checkpoint.old"
    model = _model()
    optimiser = _optimiser(model)
    _one_step(model, optimiser)
    optimiser.save(folder, {"note": "first"})
    folder.rename(old)  # killed between the two renames
    (tmp_path / "checkpoint.tmp").mkdir()  # and half of a later one was written
    assert _optimiser(_model()).load(folder) == {"step": 1, "note": "first"}


def test_the_only_checkpoint_left_by_a_kill_is_kept_until_the_next_one_is_in_place(tmp_path: Path) -> None:
    folder, old = tmp_path / "checkpoint", tmp_path / "checkpoint.old"
    model = _model()
    optimiser = _optimiser(model)
    _one_step(model, optimiser)
    optimiser.save(folder, {"note": "first"})
    folder.rename(old)
    folder.symlink_to(tmp_path / "nowhere")  # the last rename fails, as if the process had died before it
    with pytest.raises(OSError, match="checkpoint"):
        optimiser.save(folder, {"note": "lost"})
    assert _optimiser(_model()).load(folder) == {"step": 1, "note": "first"}
    folder.unlink()
    optimiser.save(folder, {"note": "second"})
    assert not old.exists()
    assert _optimiser(_model()).load(folder) == {"step": 1, "note": "second"}


def test_a_step_on_which_nothing_was_learnt_can_be_saved(tmp_path: Path) -> None:
    optimiser = _optimiser(_model())
    assert optimiser.step() == 0.0
    optimiser.save(tmp_path / "c", {})
    assert _optimiser(_model()).load(tmp_path / "c") == {"step": 1}


def test_without_a_checkpoint_training_begins_at_the_beginning(tmp_path: Path) -> None:
    optimiser = _optimiser(_model())
    assert optimiser.load(tmp_path / "none") is None
    assert optimiser.step_count == 0


def test_a_loaded_checkpoint_puts_its_weights_into_the_model(tmp_path: Path) -> None:
    model, other = _model(), _model()
    optimiser = _optimiser(model)
    _one_step(model, optimiser)
    optimiser.save(tmp_path / "c", {})
    shutil.rmtree(tmp_path / "c.old", ignore_errors=True)
    assert not _same(model, other)
    _optimiser(other).load(tmp_path / "c")
    assert _same(model, other)


def test_the_learning_rate_rises_linearly_then_falls_to_a_tenth() -> None:
    model = _model()
    optimiser = _optimiser(model)
    rates = []
    for _ in range(6):
        rates.append(optimiser.learning_rate())
        _one_step(model, optimiser)
    assert rates[:2] == pytest.approx([0.005, 0.01])
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] == pytest.approx(0.001)
    steps = [a - b for a, b in pairwise(rates[2:])]
    assert steps == pytest.approx([steps[0]] * len(steps))


def test_gradients_are_clipped_and_their_norm_before_clipping_is_told() -> None:
    norms, weights = [], []
    for scale in (1e3, 1e6):
        model = _model()
        norms.append(_one_step(model, _optimiser(model), scale))
        weights.append(model)
    assert norms[1] == pytest.approx(1e3 * norms[0], rel=1e-3)
    for one, other in zip(weights[0].parameters(), weights[1].parameters(), strict=True):
        assert float((one - other).detach().abs().mean()) < 1e-5


def test_steps_too_small_for_bfloat16_add_up_in_the_master_weights() -> None:
    model = _model(torch.bfloat16)
    freeze_lower(model, 1)
    optimiser = MasterAdamW(model, learning_rate=1e-4, warmup_steps=0, total_steps=1000, max_grad_norm=1.0)
    before = model.model.norm.weight.detach().clone()
    for _ in range(60):
        _one_step(model, optimiser)
    assert float((model.model.norm.weight - before).detach().abs().max()) > 1e-3


def test_a_step_can_be_shortened_and_goes_on_from_there(tmp_path: Path) -> None:
    model = _model(torch.bfloat16)
    optimiser = _optimiser(model)
    before = {name: master.clone() for name, master in optimiser._masters.items()}
    model(torch.tensor([EXAMPLES[0].ids])).logits.float().logsumexp(-1).sum().backward()
    optimiser.step(revocable=True)
    after = {name: master.clone() for name, master in optimiser._masters.items()}
    optimiser.shorten(0.5)
    optimiser.shorten(0.5)
    for name, master in optimiser._masters.items():
        assert torch.allclose(master, before[name] + (after[name] - before[name]) / 4)
        assert torch.equal(model.get_parameter(name), master.to(torch.bfloat16))
    optimiser.save(tmp_path / "checkpoint", {})
    again = _optimiser(other := _model(torch.bfloat16))
    again.load(tmp_path / "checkpoint")
    assert _same(model, other)
