"""Training in two processes (gloo, as torchrun starts them): the losses and weights of one, whoever was killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import team_work
import torch
from safetensors.torch import load_file

from components.training.examples import Example
from components.training.team import ALONE, Team

STEPS = 6
WORK = Path(team_work.__file__)


def _alone(folder: Path, **settings: Any) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    folder.mkdir()
    team_work.train(folder, ALONE, steps=STEPS, **settings)
    return _left(folder, 0)


def _left(folder: Path, rank: int) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    told: Any = json.loads((folder / f"{rank}.json").read_text())
    return told, load_file(str(folder / f"{rank}.safetensors"))


def _together(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    root = str(WORK.parents[1])
    command = [*torchrun, str(WORK), str(folder), str(STEPS), *arguments]
    return subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": root}, capture_output=True,
                          text=True, timeout=300)  # fmt: skip


def _assert_same(folder: Path, curve: list[dict[str, float]], weights: dict[str, torch.Tensor]) -> None:
    (led, mine), (helped, other) = _left(folder, 0), _left(folder, 1)
    assert helped == []
    assert all(torch.equal(mine[name], other[name]) for name in mine)
    for one, both in zip(curve[-len(led) :], led, strict=True):
        assert both == pytest.approx(one, rel=1e-4, abs=1e-6)
    for name, tensor in weights.items():
        assert torch.allclose(mine[name], tensor, atol=1e-5), name


SEVERAL: dict[str, Any] = {"tokens_per_pass": 24, "trained_layers": 2, "gradient_checkpointing": True}
"""One of the processes makes more passes than the other."""


@pytest.mark.parametrize(
    ("shares", "settings"),
    [("", SEVERAL), ("sharded", SEVERAL), ("sharded", {"lora_rank": 2}), ("sharded", {"family": "qwen2"})],
)
def test_two_processes_have_the_loss_curve_and_the_weights_of_one(
    tmp_path: Path, shares: str, settings: dict[str, Any]
) -> None:
    curve, weights = _alone(tmp_path / "one", **settings)
    ended = _together(tmp_path / "two", "", shares, json.dumps(settings))
    assert ended.returncode == 0, ended.stderr
    assert len(_left(tmp_path / "two", 0)[0]) == STEPS
    _assert_same(tmp_path / "two", curve, weights)
    kept, other = (load_file(str(tmp_path / who / "checkpoint/optimiser.safetensors")) for who in ("one", "two"))
    assert kept.keys() == other.keys()  # whole: so a run may go on in another number of processes
    for name, tensor in kept.items():
        assert torch.allclose(tensor, other[name], atol=1e-5), name


@pytest.mark.parametrize("shares", ["", "sharded"])
def test_a_team_that_died_goes_on_from_its_checkpoint(tmp_path: Path, shares: str) -> None:
    curve, weights = _alone(tmp_path / "one")
    assert _together(tmp_path / "two", "5", shares).returncode != 0
    assert _together(tmp_path / "two", "", shares).returncode == 0
    assert len(_left(tmp_path / "two", 0)[0]) == STEPS - 4
    _assert_same(tmp_path / "two", curve, weights)


@pytest.mark.parametrize("size", [1, 2, 3, 9])
def test_every_example_is_one_process_share(size: int) -> None:
    examples = [Example(ids=tuple(range(length))) for length in (5, 3, 9, 3, 7)]
    shares = [Team(rank, size).share(examples) for rank in range(size)]
    assert sorted(e.ids for share in shares for e in share) == sorted(e.ids for e in examples)
    assert ALONE.share(examples) is examples
