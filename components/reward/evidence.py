"""What rewards are computed from, gathered and recorded. Takes trajectories, a frozen scorer, wrong answers and a
verdict; gives the trajectories with their evidence. Weighs nothing: see `reward.parts`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from components.reward.distractors import Rivals
from components.reward.preference import Verdict
from components.reward.settings import RewardSettings
from components.schema.problem import Problem, Reference
from components.schema.trajectory import Evidence, Reading, Trajectory

Scored = tuple[str, Sequence[str], Reference]
"""Prompt, tool responses, reference."""
ScoreReference = Callable[[Sequence[Scored]], Sequence[float]]
"""Mean clipped log-probability of each reference's answer span."""


@dataclass(frozen=True, slots=True)
class _State:
    trajectory: int
    problem: Problem
    responses: tuple[str, ...]
    references: tuple[Reference, ...]
    """The right one first."""


def with_evidence(
    trajectories: Sequence[Trajectory],
    problems: Sequence[Problem],
    *,
    score_reference: ScoreReference,
    rivals: Rivals,
    verdict: Verdict,
    settings: RewardSettings,
) -> tuple[Trajectory, ...]:
    """Each trajectory (on the problem at its place) with what the settings need; all spans are scored together."""
    distinct = {problem.problem_id: problem for problem in problems}
    references = {name: (problem.reference, *rivals(problem)) for name, problem in distinct.items()}
    states = [
        _State(index, problem, responses(trajectory)[:seen], references[problem.problem_id])
        for index, (trajectory, problem) in enumerate(zip(trajectories, problems, strict=True))
        for seen in states_read(trajectory, settings)
    ]
    means = iter(score_reference([(s.problem.prompt, s.responses, r) for s in states for r in s.references]))
    readings: list[list[Reading]] = [[] for _ in trajectories]
    for state in states:
        own, *wrong = [next(means) for _ in state.references]
        readings[state.trajectory].append(Reading(len(state.responses), own, tuple(wrong)))
    return tuple(
        replace(t, outcome=replace(t.outcome, evidence=Evidence(tuple(read), verdict(t))))
        for t, read in zip(trajectories, readings, strict=True)
    )


def states_read(trajectory: Trajectory, settings: RewardSettings) -> tuple[int, ...]:
    """After how many responses the scorer is asked: at the end; before any for a gain; everywhere for potentials."""
    last = len(responses(trajectory))
    if settings.likelihood_mode == "potential":
        return tuple(range(last + 1))
    return (0, last) if settings.likelihood == "gain" and last else (last,)


def responses(trajectory: Trajectory) -> tuple[str, ...]:
    """What the tools said, oldest first."""
    return tuple(result.content for transition in trajectory.transitions for result in transition.results)
