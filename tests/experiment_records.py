"""What variants of experiments leave, from plays that never happened. Double for tests; runs no stage."""

from __future__ import annotations

from dataclasses import replace

import evaluation_records as made

from components.evaluation.policies import Play, plan
from components.experiments.plan import Played, Variant
from components.schema.trajectory import Trajectory


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
    return Played(rows, tuple(t for some in played.values() for t in some), tuple(made.reward_steps(8)))


def _misled(trajectory: Trajectory) -> Trajectory:
    transitions = (
        replace(one, results=tuple(replace(result, source_ids=("decoy-xx-area",)) for result in one.results))
        for one in trajectory.transitions
    )
    return replace(trajectory, transitions=tuple(transitions))
