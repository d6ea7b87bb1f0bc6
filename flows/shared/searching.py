"""The verbs of a search, of a model with its tools, and what a crew's worker searches with. Takes an actor, or a model,
and settings; gives `Verbs`, or a function of blocks. Apart from the stage, so that a worker imports no more than this.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from components.environment.step import step_many
from components.policy.heads import ValueHeads, read_values
from components.policy.policy import Policy
from components.policy.propose import Proposer, make_propose
from components.reward.checkers import check
from components.rollout import rollout
from components.schema.cost import Cost
from components.schema.problem import Problem
from components.schema.trajectory import ANSWER
from components.search.rows import Provenance
from components.search.selfplay import Found, search_block
from components.search.settings import SelfplaySettings
from components.search.verbs import Verbs
from components.search.worth import Value, uninformed, worth_by
from components.tools.spec import ToolSpec
from flows.shared.acting import Actor, open_actor
from flows.shared.params import load_params
from flows.shared.paths import Paths


def open_verbs(
    actor: Actor,
    settings: SelfplaySettings,
    model: Path,
    *,
    also: Sequence[ToolSpec] = (),
    heads: ValueHeads | None = None,
) -> Verbs:
    """The verbs of `actor`, whose model lies in `model`.

    `also`: tools on offer that its toolbox does not show; `heads`: what values states in place of the model's own.
    """
    delegate = partial(rollout, actor.policy, toolbox=actor.toolbox, seed=settings.seed)
    proposer = make_propose(actor.policy, [*actor.toolbox.specs(), *also], settings)
    return Verbs(
        propose=proposer,
        value=_value(actor, proposer, settings, model, heads),
        judge=check,
        step_many=partial(step_many, toolbox=actor.toolbox, delegate=delegate),
        units=actor.prices.units,
        forget=actor.policy.forget,
        act=proposer.act,
        decide=proposer.decide,
        charge=lambda decision: Cost() if decision == ANSWER else actor.prices.charge(decision),
        pen=partial(proposer.pen, actor.policy) if isinstance(actor.policy, Policy) else None,
    )


def _value(
    actor: Actor, proposer: Proposer, settings: SelfplaySettings, model: Path, heads: ValueHeads | None
) -> Value:
    """What states are worth: by the model's value heads, where it has some and runs here (a server shows no states)."""
    policy = actor.policy
    if settings.value == "likelihood":
        return worth_by(proposer.likelihoods)
    if not isinstance(policy, Policy):
        return uninformed
    if heads is None:
        heads = read_values(model, features=int(policy.model.config.hidden_size))
    return worth_by(proposer.values_by(policy, heads)) if heads is not None else uninformed


@contextlib.contextmanager
def open_search(
    paths: Paths, model: str, settings: SelfplaySettings, provenance: Provenance
) -> Iterator[Callable[[Sequence[Problem]], list[Found]]]:
    """What a worker searches blocks with."""
    folder = paths.model(model)
    with open_actor(paths, load_params(paths), folder, policy_id=provenance.model_digest) as actor:
        verbs = open_verbs(actor, settings, folder)
        yield lambda block: search_block(block, verbs, settings, provenance)
