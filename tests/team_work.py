"""A process of a training team, for torchrun: imitates on a tiny model and writes what it saw.

torchrun ... tests/team_work.py FOLDER STEPS [UNTIL [sharded [SETTINGS]]]    FOLDER/RANK.json, FOLDER/RANK.safetensors
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from safetensors.torch import save_file
from torch.distributed.tensor import DTensor

sys.path.insert(0, str(Path(__file__).parent))

from tiny_models import tiny_llama, tiny_other

from components.training.examples import Example
from components.training.imitate import imitate
from components.training.settings import CloneSettings
from components.training.team import ALONE, Team

VOCABULARY = 97
EXAMPLES = [
    Example(
        ids=(7, 8, 9, *range(k, k + 3 + k % 4)),
        calls=((3, 4),) if k % 2 else (),
        answers=(4, 5) if k % 3 else (3, 4, 5),
    )
    for k in range(10, 60)
]
SETTINGS = CloneSettings(steps=1, learning_rate=1e-3, warmup_steps=2, trained_layers=1, checkpoint_every=2)


class Stopped(Exception):  # noqa: N818 - says what happened
    """The process was to die here."""


def train(folder: Path, team: Team, *, steps: int, until: int | None = None, family: str = "", **settings: int) -> None:
    """Some steps of seven examples; a checkpoint after each second one. `family`: of a model that is no Llama."""
    torch.set_num_threads(1)
    model, told = made(family), []

    def batch_of(step: int) -> list[Example]:
        if step == until:
            raise Stopped
        return [EXAMPLES[(7 * step + k) % len(EXAMPLES)] for k in range(7)]

    size = sum(parameter.numel() for parameter in model.parameters())

    def report(step: int, metrics: Mapping[str, float]) -> None:
        told.append(dict(metrics))
        held = sum(local_part(parameter).numel() for parameter in model.parameters())
        assert not team.sharded or held < 0.6 * size, "the weights are not in shares"

    imitate(
        model,
        batch_of,
        SETTINGS.model_copy(update={"steps": steps, **settings}),
        call_token=5,
        checkpoint=folder / "checkpoint",
        report=report,
        team=team,
    )
    _assert_plain(model, made(family))
    (folder / f"{team.rank}.json").write_text(json.dumps(told))
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()},
              str(folder / f"{team.rank}.safetensors"))  # fmt: skip


def local_part(tensor: torch.Tensor) -> torch.Tensor:
    """What this process holds of it."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def made(family: str) -> Any:
    """The model before its first step."""
    return tiny_other(family) if family else tiny_llama(6, vocabulary=VOCABULARY)


def _assert_plain(model: Any, new: Any) -> None:
    """The model is one that knows no team: it computes what a new one with its weights does."""
    ids = torch.tensor([[7, 8, 9, 10]])
    assert type(model) is type(new)
    assert {type(parameter) for parameter in model.parameters()} == {torch.nn.Parameter}
    new.load_state_dict(model.state_dict())
    assert torch.equal(model(ids).logits, new(ids).logits)


def main(folder: str, steps: str, until: str = "", shares: str = "", settings: str = "{}") -> None:
    """One process of the team that torchrun made."""
    team = ALONE
    if "RANK" in os.environ:
        state = PartialState(cpu=True)
        team = Team(state.process_index, state.num_processes, sharded=bool(shares))
    train(Path(folder), team, steps=int(steps), until=int(until) if until else None, **json.loads(settings))


if __name__ == "__main__":
    main(*sys.argv[1:])
