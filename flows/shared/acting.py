"""A policy with its tools, ready to act. Takes a model's folder and the parameters; gives policy, toolbox and prices.
Does not check the folder's manifest.
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
from components.tools.prices import PriceSheet
from components.tools.toolbox import Toolbox
from flows.shared.params import Params
from flows.shared.paths import Paths
from flows.shared.tools import open_tools


@dataclass(frozen=True, slots=True)
class Actor:
    """What acts."""

    policy: Backend
    toolbox: Toolbox
    prices: PriceSheet


@contextlib.contextmanager
def open_actor(paths: Paths, params: Params, folder: Path, *, policy_id: str) -> Iterator[Actor]:
    """The model in `folder` with the deployment's tools, for the time of a `with`."""
    with equip(open_backend(folder, params.policy, policy_id=policy_id), paths, params) as actor:
        yield actor


@dataclass(frozen=True, slots=True)
class Player(Actor):
    """What plays problems as its model was trained to: by Q where it has one, told a price where it follows one."""

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


@contextlib.contextmanager
def equip(policy: Backend, paths: Paths, params: Params) -> Iterator[Actor]:
    """`policy` with the deployment's tools, for the time of a `with`."""
    with open_tools(paths, params, cut=policy.chat.cut) as toolbox:
        yield Actor(policy, toolbox, PriceSheet(params.prices))
