"""Acting as a model was trained to: by its own decisions or by Q(s, a), and under the price that it is told.

Takes a policy, what was kept beside its weights (`Manner`), problems and tools; gives trajectories like any rollout.
Who evaluates a model and who serves it ask here, so that what is measured is what is served. Trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.policy.backend import Backend
from components.policy.heads import QHead, read_q
from components.policy.policy import Policy
from components.policy.told_price import at_price, read_levels
from components.rollout.play import RolloutSettings, rollout
from components.rollout.rerank import rollout_by_q, values_by
from components.schema.problem import Problem
from components.schema.trajectory import Trajectory
from components.tools.toolbox import Toolbox

GREEDY = RolloutSettings()


@dataclass(frozen=True, slots=True)
class Manner:
    """How a model acts, besides its weights."""

    q: QHead | None = None
    """What values actions; None lets the policy decide."""
    levels: tuple[float, ...] = ()
    """Prices that it was trained to follow."""
    usual_price: float = 0.0
    """The price that it is told when nobody gives one, if it follows any."""

    def told(self, problem: Problem, price: float | None) -> Problem:
        """The problem as the model is to be asked it; see `at_price`."""
        return at_price(problem, price, self.levels, usual=self.usual_price)


def read_manner(folder: Path, policy: Backend, *, usual_price: float) -> Manner:
    """What is kept beside the model in `folder`, which `policy` runs.

    A policy on a server shows no hidden states, so it acts by its own decisions even where there is a Q head.
    """
    q = read_q(folder, features=int(policy.model.config.hidden_size)) if isinstance(policy, Policy) else None
    return Manner(q, read_levels(folder), usual_price)


def act(
    policy: Backend,
    problems: Sequence[Problem],
    toolbox: Toolbox,
    manner: Manner,
    *,
    seed: int,
    price: float | None = None,
    force: tuple[str, ...] = (),
    settings: RolloutSettings = GREEDY,
    on_done: Callable[[int], None] = lambda done: None,
) -> tuple[Trajectory, ...]:
    """One trajectory a problem, in order, under `price` (None: the usual one). `force`: decisions of the first turns.

    Raises:
        FollowsNoPrice: a price is given to a model that follows none.
    """
    told = [manner.told(problem, price) for problem in problems]
    if manner.q is None or not isinstance(policy, Policy) or not settings.show_tools:
        return rollout(policy, told, toolbox, seed=seed, force=force, settings=settings, on_done=on_done)
    values = values_by(policy, manner.q, toolbox)
    played = rollout_by_q(policy, values, told, toolbox, seed=seed, force=force)
    on_done(len(played))
    return played
