"""What nested turns are credited with. Takes a scored trajectory; gives it with returns on what is nested. No model.

A nested trajectory has no reference of its own, so its return is its parent's total reward, undiscounted, at every
depth. That is the policy gradient of the composite: R belongs to every turn that was sampled on the way to it, and as
the nested cost is part of the parent's, a nested call that wastes calls lowers the return that it is taught with. The
baseline is the parent's as well (the mean of its siblings, which do not depend on this trajectory's turns). What is
left out: credit for single nested turns.
"""

from __future__ import annotations

from dataclasses import replace

from components.schema.trajectory import Trajectory, Transition


def credited(trajectory: Trajectory, parent_return: float | None) -> Trajectory:
    """The trajectory with `parent_return` as the reward of the last turn of every trajectory nested in it.

    None takes such rewards away: the parent was not scored.
    """
    return replace(trajectory, transitions=tuple(_credited(t, parent_return) for t in trajectory.transitions))


def _credited(transition: Transition, parent_return: float | None) -> Transition:
    return replace(transition, nested=tuple(_rewarded(inner, parent_return) for inner in transition.nested))


def _rewarded(nested: Trajectory, parent_return: float | None) -> Trajectory:
    inside = credited(nested, parent_return)
    if not inside.transitions:
        return inside
    last = replace(inside.transitions[-1], reward=parent_return)
    return replace(inside, transitions=(*inside.transitions[:-1], last))
