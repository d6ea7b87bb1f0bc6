"""A model with its tools, ready to play problems as it was trained to act: by Q where it has one, told a price where it
follows one. Takes a model's folder and the parameters; gives the player. Does not check the folder's manifest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.policy.backend import Backend
from components.policy.heads import has_q
from components.policy.load import load_policy, open_backend
from components.rollout import RolloutSettings
from components.rollout.act import Manner, act, read_manner
from components.schema.problem import Problem
from components.schema.trajectory import Trajectory
from flows.shared.acting import Actor, equip
from flows.shared.params import Params
from flows.shared.paths import Paths


@dataclass(frozen=True, slots=True)
class Player(Actor):
    """What acts, and how."""

    manner: Manner

    def play(
        self,
        problems: Sequence[Problem],
        *,
        seed: int,
        price: float | None = None,
        force: tuple[str, ...] = (),
        show_tools: bool = True,
    ) -> tuple[Trajectory, ...]:
        """One trajectory a problem; see `components.rollout.act`."""
        settings = RolloutSettings(show_tools=show_tools)
        return act(
            self.policy, problems, self.toolbox, self.manner, seed=seed, price=price, force=force, settings=settings
        )


@contextlib.contextmanager
def open_player(paths: Paths, params: Params, folder: Path, *, policy_id: str) -> Iterator[Player]:
    """The model in `folder` with the deployment's tools, for the time of a `with`.

    Q reads hidden states, so a model with a Q head runs in torch whatever `policy.backend` says.
    """
    load = load_policy if has_q(folder) else open_backend
    policy: Backend = load(folder, params.policy, policy_id=policy_id)
    manner = read_manner(folder, policy, usual_price=params.reward.price)
    with equip(policy, paths, params) as actor:
        yield Player(actor.policy, actor.toolbox, actor.prices, manner)
