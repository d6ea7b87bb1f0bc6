"""Stored trajectories, stepped again with their recorded results.

Takes a trajectory and its problem; gives the trajectory that the environment makes of the same actions, which must be
equal, or the states on the way. Results, verdict and rewards are those of the record, and nested trajectories are
replayed in their turn: it calls no tools, plays nothing, judges no answer and computes no reward.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from components.environment.step import Need, Reply, after, finish, need_of, start
from components.schema.cost import NO_COST, Cost
from components.schema.problem import Problem
from components.schema.trajectory import State, Trajectory, Transition


class ReplayMismatch(ValueError):  # noqa: N818 - says what happened
    """The replay asks for something that was not recorded, or the other way round."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One step of a replay."""

    before: State
    transition: Transition
    state: State
    nested: tuple[Problem, ...] = ()
    """The problems of `transition.nested`."""


def walk(trajectory: Trajectory, problem: Problem) -> Iterator[Replayed]:
    """Every step of the trajectory, with the states around it.

    Raises:
        ReplayMismatch: the record does not fit what its actions need.
    """
    state = start(problem)
    for turn, recorded in enumerate(trajectory.transitions):
        need = need_of(state, recorded.action, lambda name: NO_COST)
        reply = _recorded(need, recorded, turn)
        then, transition = after(state, recorded.action, reply, _tokens(recorded))
        nested = (need,) if isinstance(need, Problem) and reply.nested is not None else ()
        yield Replayed(state, replace(transition, reward=recorded.reward), then, nested)
        state = then


def replay(trajectory: Trajectory, problem: Problem) -> Trajectory:
    """The trajectory that the recorded actions make; equal to `trajectory` when nothing changed."""
    steps = list(walk(trajectory, problem))
    again = finish(
        steps[-1].state if steps else start(problem),
        [step.transition for step in steps],
        policy_id=trajectory.policy_id,
        seed=trajectory.seed,
        success=trajectory.outcome.success,
        forced=trajectory.forced,
    )
    parts, evidence = trajectory.outcome.reward_parts, trajectory.outcome.evidence
    return replace(again, outcome=replace(again.outcome, reward_parts=parts, evidence=evidence))


def _recorded(need: Need, recorded: Transition, turn: int) -> Reply:
    """The recorded reply to what an action needs."""
    if len(recorded.results) != (need is not None):
        asked = "nothing" if need is None else "a reply"
        raise ReplayMismatch(f"turn {turn} needs {asked}, {len(recorded.results)} results were recorded")
    if not recorded.nested:
        return Reply(recorded.results[0] if recorded.results else None)
    if not isinstance(need, Problem) or len(recorded.nested) != 1:
        raise ReplayMismatch(f"turn {turn} has {len(recorded.nested)} nested trajectories, its action makes none")
    (nested,) = recorded.nested
    return Reply(recorded.results[0], replay(nested, need))


def _tokens(recorded: Transition) -> Cost:
    """Tokens of the turn itself: those of its calls are in the results."""
    tokens_in, tokens_out = recorded.cost.prompt_tokens, recorded.cost.completion_tokens
    for result in recorded.results:
        tokens_in -= result.cost.prompt_tokens
        tokens_out -= result.cost.completion_tokens
    return Cost(prompt_tokens=tokens_in, completion_tokens=tokens_out)
