"""One question to the promoted champion.

Takes a question; gives what it did and what that cost. Trains and records nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components.policy.heads import QHead, read_q
from components.policy.load import load_policy
from components.policy.policy import Policy
from components.records.manifest import verify_manifest
from components.rollout import rollout
from components.rollout.rerank import rollout_by_q, values_by
from components.schema.identity import stable_hash
from components.schema.problem import Budget, CheckerSpec, Problem, Reference
from components.schema.tool import ToolSpec
from components.schema.trajectory import Trajectory
from components.tools.prices import PriceSheet
from flows.shared.acting import equip, open_actor
from flows.shared.faults import UserFault
from flows.shared.params import Params, load_params
from flows.shared.paths import Paths
from flows.shared.registry import Registry, Version
from flows.shared.registry_settings import load_registry_settings


class NoQ(UserFault):
    """The champion was not trained to value actions."""


class NoChampion(UserFault):
    """Nothing was promoted yet."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What the champion did with a question."""

    version: Version
    trajectory: Trajectory
    units: float
    """Cost in units of the price sheet."""


def ask(paths: Paths, question: str, *, rerank: Literal["q"] | None = None) -> Answered:
    """The champion's way to an answer: by its own decisions, or with `rerank` by the greatest Q(s, a)."""
    settings, params = load_registry_settings(paths), load_params(paths)
    registry = Registry(paths, experiment=settings.experiment, model=settings.model)
    version = registry.alias(settings.aliases.champion)
    if version is None:
        raise NoChampion("no champion yet: `qanat run` trains and promotes one")
    folder = registry.folder(version)
    verify_manifest(folder)
    play = _play if rerank is None else _play_by_q
    trajectory = play(paths, params, folder, question, policy_id=version.digest)
    return Answered(version, trajectory, PriceSheet(params.prices).units(trajectory.outcome.cost))


def _play(paths: Paths, params: Params, folder: Path, question: str, *, policy_id: str) -> Trajectory:
    with open_actor(paths, params, folder, policy_id=policy_id) as actor:
        problem = problem_of(question, actor.toolbox.specs())
        (trajectory,) = rollout(actor.policy, [problem], actor.toolbox, seed=params.seed)
    return trajectory


def _play_by_q(paths: Paths, params: Params, folder: Path, question: str, *, policy_id: str) -> Trajectory:
    """Q reads the model's hidden states, so the model runs in torch whatever `policy.backend` says."""
    policy = load_policy(folder, params.policy, policy_id=policy_id)
    head = q_head(policy, folder)
    with equip(policy, paths, params) as actor:
        problem = problem_of(question, actor.toolbox.specs())
        values = values_by(policy, head, actor.toolbox)
        (trajectory,) = rollout_by_q(policy, values, [problem], actor.toolbox, seed=params.seed)
    return trajectory


def q_head(policy: Policy, folder: Path) -> QHead:
    """What values actions, kept beside the model in `folder`.

    Raises:
        NoQ: the model has none.
    """
    head = read_q(folder, features=int(policy.model.config.hidden_size))
    if head is None:
        raise NoQ(
            "the champion has no Q(s, a) to rank by: set `form: q_learning` in section reinforce of params.yaml, "
            "then `qanat run`"
        )
    return head


def problem_of(question: str, specs: Sequence[ToolSpec]) -> Problem:
    """A problem whose answer nobody knows beforehand; every open tool may be used."""
    return Problem(
        problem_id=stable_hash(question),
        prompt=question,
        tool_names=tuple(spec.name for spec in specs),
        reference=Reference(text="", answer=""),
        checker=CheckerSpec(kind="phrase"),
        budget=Budget(),
        family="chat",
        slices=(),
        group=question,
        split="test",
    )


def describe(answered: Answered) -> list[str]:
    """Lines for a person: every call with its result, the answer, the cost, the version."""
    lines = []
    for transition in answered.trajectory.transitions:
        call = transition.action.call
        if call is not None:
            arguments = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items())
            lines.append(f"call    {call.name}({arguments})")
        lines += [f"result  {line}" for result in transition.results for line in result.content.splitlines()]
    outcome, version = answered.trajectory.outcome, answered.version
    cost = outcome.cost
    return [
        *lines,
        f"answer  {outcome.answer or f'(none: {outcome.stop_reason.value})'}",
        f"cost    {answered.units:.2f} units ({cost.calls} calls, {cost.seconds:g} s, {cost.money:g} money)",
        f"model   version {version.number}, weights {version.digest[:12]}",
    ]
