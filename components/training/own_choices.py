"""What a model itself would decide at the roots that reinforcement judged.

Takes judged trajectories, one a decision that was forced at a root; gives those that begin with the model's own choice,
cut after it. Distilled beside what search found, they keep a few trees from turning every other decision: two solved by
Python, alone, taught a model to write Python whatever it was asked. Trains nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from components.policy.model_type import CausalLM
from components.schema.problem import Problem
from components.schema.trajectory import Trajectory
from components.training.examples import Teach
from components.training.finish import root_weights
from components.training.inputs import Vocabulary
from components.training.material import Encoder

CHOICE = Teach(arguments=False, answers=False)
"""Only what was decided."""


def own_choices(
    model: CausalLM,
    trajectories: Sequence[Trajectory],
    problems: Mapping[str, Problem],
    encoder: Encoder,
    vocabulary: Vocabulary,
    *,
    tokens_per_pass: int,
) -> tuple[Trajectory, ...]:
    """Per problem the first turn of the trajectory whose forced decision is the likeliest under the model.

    Trajectories that nobody forced, or whose problem is not known, are left out.
    """
    forced = [t for t in trajectories if t.forced and t.transitions and t.problem_id in problems]
    roots = [encoder.context(problems[t.problem_id]) for t in forced]
    weights = root_weights(model, forced, roots, vocabulary, tokens_per_pass=tokens_per_pass)
    likeliest: dict[str, tuple[float, Trajectory]] = {}
    for trajectory, weight in zip(forced, weights, strict=True):
        before = likeliest.get(trajectory.problem_id)
        if before is None or weight > before[0]:
            likeliest[trajectory.problem_id] = weight, trajectory
    return tuple(replace(chosen, transitions=chosen.transitions[:1]) for _, chosen in likeliest.values())
