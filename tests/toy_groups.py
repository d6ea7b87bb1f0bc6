"""Groups with known rewards on tiny models: bandits of all decisions, and sampled siblings of one call."""

from __future__ import annotations

from collections.abc import Mapping

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


def group_of(plays: Mapping[Trajectory, float] | list[tuple[Trajectory, float]], problem: Problem = PROBLEM) -> Group:
    """Trajectories with their rewards; each names its branch in `forced`."""
    pairs = list(plays.items()) if isinstance(plays, Mapping) else plays
    return Group(
        problem=problem,
        context_ids=chat().prompt_ids(problem.prompt, specs_of(TOOLS)),
        probs={ANSWER: 0.2, "search": 0.5, "python": 0.3},
        trajectories=tuple(trajectory for trajectory, _ in pairs),
        rewards=tuple(reward for _, reward in pairs),
        likelihoods=(None,) * len(pairs),
    )


def bandit(rewards: Mapping[str, float], problem: Problem = PROBLEM) -> Group:
    """Every decision once, played to an answer."""
    return group_of(
        [
            (told(problem, [] if name == ANSWER else [(name, "x", "y")], "Yes.", forced=name), reward)
            for name, reward in rewards.items()
        ],
        problem,
    )


def siblings(rewards: Mapping[str, float], problem: Problem = PROBLEM) -> Group:
    """The same call with several queries."""
    return group_of(
        [
            (told(problem, [("search", query, "N'Djamena")], "Yes.", forced="search"), reward)
            for query, reward in rewards.items()
        ],
        problem,
    )


def material_of(groups: list[Group], settings: ReinforceSettings) -> Material:
    """What a step learns from the groups."""
    return material(groups, (), encoder(), settings)
