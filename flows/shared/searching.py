"""The verbs of a search, of a model with its tools. Takes an actor and settings; gives `Verbs`. Searches nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from components.environment.step import step_many
from components.policy.heads import read_values
from components.policy.policy import Policy
from components.policy.propose import Proposer, make_propose
from components.reward.checkers import check
from components.rollout import rollout
from components.search.settings import SelfplaySettings
from components.search.verbs import Verbs
from components.search.worth import Value, uninformed, worth_by
from components.tools.spec import ToolSpec
from flows.shared.acting import Actor


def open_verbs(actor: Actor, settings: SelfplaySettings, model: Path, *, also: Sequence[ToolSpec] = ()) -> Verbs:
    """The verbs of `actor`, whose model lies in `model`; `also`: tools on offer that its toolbox does not show."""
    delegate = partial(rollout, actor.policy, toolbox=actor.toolbox, seed=settings.seed)
    proposer = make_propose(actor.policy, [*actor.toolbox.specs(), *also], settings)
    return Verbs(
        propose=proposer,
        value=_value(actor, proposer, settings, model),
        judge=check,
        step_many=partial(step_many, toolbox=actor.toolbox, delegate=delegate),
        units=actor.prices.units,
        forget=actor.policy.forget,
        act=proposer.act,
    )


def _value(actor: Actor, proposer: Proposer, settings: SelfplaySettings, model: Path) -> Value:
    """What states are worth: by the model's value heads, where it has some and runs here (a server shows no states)."""
    policy = actor.policy
    if settings.value == "likelihood":
        return worth_by(proposer.likelihoods)
    if not isinstance(policy, Policy):
        return uninformed
    heads = read_values(model, features=int(policy.model.config.hidden_size))
    return worth_by(proposer.values_by(policy, heads)) if heads is not None else uninformed
