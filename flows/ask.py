"""One question to the promoted champion.

Takes a question; gives what it did and what that cost. Trains and records nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components.policy.heads import has_q
from components.policy.told_price import FollowsNoPrice
from components.records.manifest import verify_manifest
from components.schema.identity import stable_hash
from components.schema.problem import Budget, CheckerSpec, Problem, Reference
from components.schema.tool import ToolSpec
from components.schema.trajectory import Trajectory
from components.tools.composite import offered
from components.tools.prices import PriceSheet
from flows.shared.faults import UserFault
from flows.shared.params import Params, load_params
from flows.shared.paths import Paths
from flows.shared.playing import open_player
from flows.shared.registry import Registry, Version
from flows.shared.registry_settings import load_registry_settings
from flows.shared.transcript import Price, summary_line, transcript


class NoQ(UserFault):
    """The champion was not trained to value actions."""


class NoPrice(UserFault):
    """The champion cannot be told that price."""


class NoChampion(UserFault):
    """Nothing was promoted yet."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What the champion did with a question."""

    version: Version
    problem: Problem
    trajectory: Trajectory
    price: Price
    """Cost to units of the price sheet."""


def ask(paths: Paths, question: str, *, rerank: Literal["q"] | None = None, price: float | None = None) -> Answered:
    """The champion's way to an answer: by its own decisions, or by the greatest Q(s, a) where it has a Q.

    `rerank` insists on Q. `price`: what one unit of cost is to count against a correct answer.
    """
    settings, params = load_registry_settings(paths), load_params(paths)
    registry = Registry(paths, experiment=settings.experiment, model=settings.model)
    version = registry.alias(settings.aliases.champion)
    if version is None:
        raise NoChampion("no champion yet: `qanat run` trains and promotes one")
    folder = registry.folder(version)
    verify_manifest(folder)
    if rerank == "q":
        check_q(folder)
    problem, trajectory = _play(paths, params, folder, question, policy_id=version.digest, price=price)
    return Answered(version, problem, trajectory, PriceSheet(params.prices).units)


def _play(
    paths: Paths, params: Params, folder: Path, question: str, *, policy_id: str, price: float | None
) -> tuple[Problem, Trajectory]:
    with open_player(paths, params, folder, policy_id=policy_id) as player:
        asked = offered(problem_of(question, player.toolbox.specs()), params.tools.composite)
        try:
            problem = player.manner.told(asked, price)
        except FollowsNoPrice as error:
            raise NoPrice(f"--price: {error}") from None
        (trajectory,) = player.play([problem], seed=params.seed, price=price)
    return problem, trajectory


def check_q(folder: Path) -> None:
    """Raises `NoQ` unless something that values actions is kept beside the model in `folder`."""
    if not has_q(folder):
        raise NoQ(
            "the champion has no Q(s, a) to rank by: set `form: q_learning` in section reinforce of params.yaml, "
            "then `qanat run`"
        )


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
    """Lines for a person: every call with its cost and result, what is nested indented; answer, cost and version."""
    outcome, version = answered.trajectory.outcome, answered.version
    told = answered.problem.price
    return [
        *transcript(answered.trajectory, answered.problem, answered.price),
        f"answer  {outcome.answer or f'(none: {outcome.stop_reason.value})'}",
        summary_line(outcome.cost, answered.price),
        *([] if told is None else [f"told    a call counts {told:g} of a correct answer"]),
        f"model   version {version.number}, weights {version.digest[:12]}",
    ]
