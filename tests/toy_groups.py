"""Groups with known rewards on tiny models: bandits of all decisions, and sampled siblings of one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from doubles import make_problem
from tiny_models import chat, encoder, specs_of, told

from components.schema.group import Group
from components.schema.problem import Problem
from components.schema.trajectory import ANSWER, Trajectory
from components.training.inputs import Material, Vocabulary
from components.training.material import material
from components.training.settings import ReinforceSettings

TOOLS = ("search", "python")
PROBLEM = make_problem()


def vocabulary() -> Vocabulary:
    """The openings of both tools."""
    return Vocabulary(chat().call_opening, {name: chat().encode(name) for name in TOOLS})


Branch = tuple[str, Trajectory, float, float | None]
"""Decision, play, reward, likelihood of the reference (None: not scored)."""


def branches_of(
    branches: Sequence[Branch], *, problem: Problem = PROBLEM, probs: Mapping[str, float] | None = None
) -> Group:
    """A group of these branches."""
    return Group(
        problem=problem,
        context_ids=chat().prompt_ids(problem.prompt, specs_of(TOOLS)),
        probs=probs or {ANSWER: 0.2, "search": 0.5, "python": 0.3},
        trajectories=tuple(replace(trajectory, forced=(name,)) for name, trajectory, _, _ in branches),
        rewards=tuple(reward for _, _, reward, _ in branches),
        likelihoods=tuple(likelihood for _, _, _, likelihood in branches),
    )


def group_of(plays: Mapping[Trajectory, float] | list[tuple[Trajectory, float]], problem: Problem = PROBLEM) -> Group:
    """Trajectories with their rewards; each names its branch in `forced`."""
    pairs = list(plays.items()) if isinstance(plays, Mapping) else plays
    return branches_of([(play.forced[0], play, reward, None) for play, reward in pairs], problem=problem)


def bandit(
    rewards: Mapping[str, float], problem: Problem = PROBLEM, *, probs: Mapping[str, float] | None = None
) -> Group:
    """Every decision once, played to an answer."""
    branches: list[Branch] = [
        (name, told(problem, [] if name == ANSWER else [(name, "x", "y")], "Yes."), reward, None)
        for name, reward in rewards.items()
    ]
    return branches_of(branches, problem=problem, probs=probs)


def siblings(rewards: Mapping[str, float], problem: Problem = PROBLEM, *, likelihood: float | None = None) -> Group:
    """The same call with several queries."""
    branches: list[Branch] = [
        ("search", told(problem, [("search", query, "N'Djamena")], "Yes."), reward, likelihood)
        for query, reward in rewards.items()
    ]
    return branches_of(branches, problem=problem)


def material_of(groups: list[Group], settings: ReinforceSettings, replay: tuple[int, ...] = ()) -> Material:
    """What a step learns from the groups and the replayed examples."""
    return material(groups, replay, encoder(), settings)
