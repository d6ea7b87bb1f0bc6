"""A model with its tools, ready to play problems as it was trained to act: by Q where it has one, told a price where it
follows one. Takes a model's folder and the parameters; gives the player, or what plays an evaluation's batches. Does
not check the folder's manifest. Apart from the stage, so that a crew's worker imports no more than this.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.evaluation.collect import Act, Batch
from components.evaluation.policies import Play
from components.policy.backend import Backend
from components.policy.heads import has_q
from components.policy.load import load_policy, open_backend
from components.rollout import RolloutSettings
from components.rollout.act import Manner, act, read_manner
from components.schema.problem import Problem
from components.schema.trajectory import Trajectory
from flows.shared.acting import Actor, equip
from flows.shared.params import Params, load_params
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


@contextlib.contextmanager
def open_act(paths: Paths, params: Params, model: str) -> Iterator[Act]:
    """What plays batches with one model."""
    with open_player(paths, params, paths.model(model), policy_id=model) as player:

        def play_batch(play: Play, batch: Sequence[Problem]) -> tuple[Trajectory, ...]:
            player.policy.forget()  # a batch comes out the same whatever was played before it, and by whom
            force, shown = play.force or (), play.model != "base"
            return player.play(batch, seed=params.seed, price=play.price, force=force, show_tools=shown)

        yield play_batch


@contextlib.contextmanager
def open_play(paths: Paths) -> Iterator[Callable[[Batch], tuple[Trajectory, ...]]]:
    """What a worker plays batches with: the model of the last batch is kept."""
    params = load_params(paths)
    with contextlib.ExitStack() as held:
        opened: dict[str, Act] = {}

        def play(batch: Batch) -> tuple[Trajectory, ...]:
            model = batch.play.model
            if not batch.problems:
                return ()
            if model not in opened:
                held.close()
                opened.clear()
                opened[model] = held.enter_context(open_act(paths, params, model))
            return tuple(opened[model](batch.play, batch.problems))

        yield play
