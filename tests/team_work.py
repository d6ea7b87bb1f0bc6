"""A process of a training team, for torchrun: imitates on a tiny model and writes what it saw.

torchrun ... tests/team_work.py FOLDER STEPS [--until STEP]      FOLDER/RANK.json, FOLDER/RANK.safetensors
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent))

from tiny_models import tiny_llama

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


class Stopped(Exception):  # noqa: N818 - says what happened
    """The process was to die here."""


def train(folder: Path, team: Team, *, steps: int, until: int | None = None) -> None:
    """Some steps of seven examples; a checkpoint after each second one."""
    torch.set_num_threads(1)
    model, told = tiny_llama(6, vocabulary=VOCABULARY), []

    def batch_of(step: int) -> list[Example]:
        if step == until:
            raise Stopped
        return [EXAMPLES[(7 * step + k) % len(EXAMPLES)] for k in range(7)]

    imitate(
        model,
        batch_of,
        CloneSettings(steps=steps, learning_rate=1e-3, warmup_steps=2, trained_layers=1, checkpoint_every=2),
        call_token=5,
        checkpoint=folder / "checkpoint",
        report=lambda step, metrics: told.append(dict(metrics)),
        team=team,
    )
    (folder / f"{team.rank}.json").write_text(json.dumps(told))
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()},
              str(folder / f"{team.rank}.safetensors"))  # fmt: skip


def main(folder: str, steps: str, until: str = "") -> None:
    """One process of the team that torchrun made."""
    team = ALONE
    if "RANK" in os.environ:
        state = PartialState(cpu=True)
        team = Team(state.process_index, state.num_processes)
    train(Path(folder), team, steps=int(steps), until=int(until) if until else None)


if __name__ == "__main__":
    main(*sys.argv[1:])
