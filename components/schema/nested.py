"""Trajectories inside trajectories. Takes a trajectory; gives what is nested in it. Plays and scores nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from components.schema.trajectory import Trajectory, Transition


def nested_in(trajectory: Trajectory) -> Iterator[tuple[str, Trajectory]]:
    """Question and trajectory of every call that the trajectory itself delegated (not of those inside them)."""
    for transition in trajectory.transitions:
        for inner in transition.nested:
            assert transition.action.call is not None, "only a call has something nested in it"
            yield str(transition.action.call.arguments["question"]), inner


def every_transition(trajectory: Trajectory) -> Iterator[Transition]:
    """The trajectory's transitions and, after each, those of what is nested in it, at every depth."""
    for transition in trajectory.transitions:
        yield transition
        for inner in transition.nested:
            yield from every_transition(inner)


def map_transitions(trajectory: Trajectory, change: Callable[[Transition], Transition]) -> Trajectory:
    """The trajectory with `change` made to all transitions, those at every depth included."""

    def changed(transition: Transition) -> Transition:
        nested = tuple(map_transitions(inner, change) for inner in transition.nested)
        return replace(change(transition), nested=nested)

    return replace(trajectory, transitions=tuple(map(changed, trajectory.transitions)))
