"""What the distilled model learns from.

Takes self-play's trajectories and node rows, and demonstrations; gives the trajectories to train on: for each problem
the cheapest correct one, cheapest problems first, those that the policy rarely solves repeated, and demonstrations
spread evenly among them. Training on minimal solutions only beat training on all of them (HTPS, Lample et al. 2022:
78.1 against 40.6). Does not tokenise, weigh losses or train.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any

from components.schema.cost import Cost
from components.schema.trajectory import Action, Trajectory

Units = Callable[[Cost], float]

RARELY_SOLVED = 0.25
"""A problem is hard when at most this share of its finished branches was correct."""


def distil_material(
    searched: Sequence[Trajectory],
    nodes: Iterable[Mapping[str, Any]],
    demonstrations: Sequence[Trajectory],
    *,
    units: Units,
    search_share: float = 0.75,
    hard_repeats: int = 2,
    min_visits: int = 8,
    seed: int = 0,
) -> tuple[Trajectory, ...]:
    """Searched solutions with as many demonstrations as leave `search_share` of the whole to search; the demonstrations
    alone if search found nothing. `nodes` are rows of nodes.parquet as mappings.
    """
    if not 0.0 <= search_share <= 1.0:
        raise ValueError(f"search_share must be in [0, 1], is {search_share}")
    solutions = cheapest_per_problem(searched, units) if search_share else ()
    hard = hard_problems(nodes, min_visits=min_visits)
    taught = [one for one in solutions for _ in range(hard_repeats if one.problem_id in hard else 1)]
    known = {trajectory_key(one) for one in solutions}
    fresh = [one for one in distinct(demonstrations) if trajectory_key(one) not in known]
    if not taught:
        return tuple(fresh)
    wanted = round(len(taught) * (1.0 - search_share) / search_share)
    kept = fresh if wanted >= len(fresh) else Random(seed).sample(fresh, wanted)
    return interleave(taught, kept)


def cheapest_per_problem(trajectories: Sequence[Trajectory], units: Units) -> tuple[Trajectory, ...]:
    """One correct trajectory a problem, the cheapest and then the shortest; cheapest problems first."""

    def order(trajectory: Trajectory) -> tuple[float, int, str]:
        return units(trajectory.outcome.cost), len(trajectory.transitions), trajectory.trajectory_id

    best: dict[str, Trajectory] = {}
    for trajectory in sorted((one for one in trajectories if one.outcome.success is True), key=order):
        best.setdefault(trajectory.problem_id, trajectory)
    return tuple(best.values())


def hard_problems(nodes: Iterable[Mapping[str, Any]], *, min_visits: int) -> frozenset[str]:
    """Problems solved on some, but at most `RARELY_SOLVED`, of their finished branches, if the root has the visits."""
    verdicts: defaultdict[str, list[bool]] = defaultdict(list)
    searched_enough: set[str] = set()
    for row in nodes:
        if row["parent_id"] is None and row["visits"] >= min_visits:
            searched_enough.add(row["problem_id"])
        if row["terminal"]:
            verdicts[row["problem_id"]].append(row["success"] is True)
    return frozenset(
        problem_id
        for problem_id, ended in verdicts.items()
        if problem_id in searched_enough and 0.0 < sum(ended) / len(ended) <= RARELY_SOLVED
    )


def trajectory_key(trajectory: Trajectory) -> str:
    """What makes two trajectories the same: the problem and what was done, whoever did it."""
    return json.dumps([trajectory.problem_id, [_turn(transition.action) for transition in trajectory.transitions]])


def _turn(action: Action) -> str | tuple[str, str]:
    if action.call is None:
        return action.message.content.strip()
    return action.call.name, json.dumps(dict(action.call.arguments), sort_keys=True)


def distinct(trajectories: Sequence[Trajectory]) -> tuple[Trajectory, ...]:
    """The first of each set of equal trajectories, in order."""
    return tuple({trajectory_key(one): one for one in reversed(trajectories)}.values())[::-1]


def interleave(first: Sequence[Trajectory], second: Sequence[Trajectory]) -> tuple[Trajectory, ...]:
    """Both in their own order, spread so that every stretch holds about the same mixture."""
    placed = [((index + 0.5) / len(group), group[index]) for group in (first, second) for index in range(len(group))]
    return tuple(trajectory for _, trajectory in sorted(placed, key=lambda pair: pair[0]))
