"""What variants of experiments leave, from plays that never happened. Double for tests; runs no stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import evaluation_records as made

from components.evaluation.policies import Play, plan
from components.experiments.plan import Played, Variant
from components.schema.problem import Problem
from components.schema.trajectory import Trajectory
from components.search.trial import Attempt


def left(variant: Variant, *, count: int = 160) -> Played:
    """An evaluation of the variant's models, told the prices that it asks for; a clone is skilled where it knew its
    engine. Every result showed a decoy.
    """
    problems = made.problems(count)
    played = {}
    for play in plan(variant.last, prices=variant.params.get("evaluate.prices", ())):
        skilled = (
            Play("reinforced", "reinforced", None) if variant.name == "before" and play.policy == "clone" else play
        )
        played[play.policy] = tuple(
            replace(_misled(trajectory), policy_id=play.model) for trajectory in made.trajectories(skilled, problems)
        )
    rows = {policy: made.rows_of(policy, problems, some, made.price) for policy, some in played.items()}
    trajectories, steps = tuple(t for some in played.values() for t in some), tuple(made.reward_steps(8))
    if not variant.trial:
        return Played(rows, trajectories, steps)
    figures = {"stopped": 90.0, "stopped_wrongly": 1.0, "threshold": 0.1}
    rates = {"simulations_per_second_lockstep": 6.0, "simulations_per_second_alone": 1.0}
    return Played(rows, trajectories, steps, attempts=_attempts(problems), figures=figures | rates)


SOLVING = {"search": 2, "greedy": 5, "sampled": 3, "agreed": 4, "exhaustive": 1, "bounded": 2, "pruned": 2, "loop": 7}
"""Arm to n: it solves every n-th problem."""


def _attempts(problems: Sequence[Problem]) -> tuple[Attempt, ...]:
    """Trees that solve more than others, and use fewer tokens where they stop."""
    families = ("puzzle", "two_hop", "fact_compute")
    tokens = {"bounded": 80, "pruned": 60}
    arms = {**SOLVING, "flat": 4, "static": 4, "dynamic": 2}
    return tuple(
        Attempt(arm, one.problem_id, one.group, families[n % 3], n % every == 0, tokens.get(arm, 100), 1, 1.0)
        for arm, every in arms.items()
        for n, one in enumerate(problems)
    )


def _misled(trajectory: Trajectory) -> Trajectory:
    transitions = (
        replace(one, results=tuple(replace(result, source_ids=("decoy-xx-area",)) for result in one.results))
        for one in trajectory.transitions
    )
    return replace(trajectory, transitions=tuple(transitions))
