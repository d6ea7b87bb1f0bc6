"""One question to the promoted champion.

Takes a question; gives what it did and what that cost. Trains and records nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from components.records.manifest import verify_manifest
from components.rollout import rollout
from components.schema.identity import stable_hash
from components.schema.problem import Budget, CheckerSpec, Problem, Reference
from components.schema.trajectory import Trajectory
from components.tools.composite import offered
from flows.shared.acting import open_actor
from flows.shared.faults import UserFault
from flows.shared.params import load_params
from flows.shared.paths import Paths
from flows.shared.registry import Registry, Version
from flows.shared.registry_settings import load_registry_settings
from flows.shared.transcript import Price, summary_line, transcript

TOOLS = ("search", "python")


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


def ask(paths: Paths, question: str) -> Answered:
    """The champion's way to an answer."""
    settings, params = load_registry_settings(paths), load_params(paths)
    registry = Registry(paths, experiment=settings.experiment, model=settings.model)
    version = registry.alias(settings.aliases.champion)
    if version is None:
        raise NoChampion("no champion yet: `qanat run` trains and promotes one")
    folder = registry.folder(version)
    verify_manifest(folder)
    with open_actor(paths, params, folder, policy_id=version.digest) as actor:
        problem = offered(problem_of(question), params.tools.composite)
        (trajectory,) = rollout(actor.policy, [problem], actor.toolbox, seed=params.seed)
        return Answered(version, problem, trajectory, actor.prices.units)


def problem_of(question: str) -> Problem:
    """A problem whose answer nobody knows beforehand."""
    return Problem(
        problem_id=stable_hash(question),
        prompt=question,
        tool_names=TOOLS,
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
    return [
        *transcript(answered.trajectory, answered.problem, answered.price),
        f"answer  {outcome.answer or f'(none: {outcome.stop_reason.value})'}",
        summary_line(outcome.cost, answered.price),
        f"model   version {version.number}, weights {version.digest[:12]}",
    ]
