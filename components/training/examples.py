"""What a trainer learns from. Takes trajectories whose tokens are known; gives token sequences with marked targets.

One sequence a trajectory; every turn of the policy in it is trained in one pass. Tool output is never a target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from components.schema.message import Message
from components.schema.trajectory import ANSWER, Action, Trajectory

Render = Callable[[Message], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Example:
    """A token sequence and what of it is learnt."""

    ids: tuple[int, ...]
    calls: tuple[tuple[int, int], ...] = ()
    """[start, stop) of openings (with the tool's name) whose decision is learnt."""
    stays: tuple[int, ...] = ()
    """Positions of first answer tokens where the decision to answer (that no call opens) is learnt."""
    arguments: tuple[int, ...] = ()
    """Positions of argument tokens that are learnt."""
    answers: tuple[int, ...] = ()
    """Positions of answer tokens that are learnt."""
    firsts: tuple[int, ...] = ()
    """Positions of first answer tokens: drawn given that no call opens."""
    weight: float = 1.0
    """Multiplies the example's argument tokens (an advantage in policy gradients)."""


@dataclass(frozen=True, slots=True)
class Teach:
    """Which parts of a trajectory are targets."""

    decisions: bool = True
    first_decision: bool = True
    """False leaves the root decision out."""
    arguments: bool = True
    """Whether the arguments of calls are learnt."""
    silent: frozenset[str] = frozenset()
    """Tools whose arguments are not learnt all the same."""
    answers: bool = True
    only_last: bool = False
    """True leaves out every turn but the last one."""


EVERYTHING = Teach()
KEEP = Teach(first_decision=False, silent=frozenset({"search"}))
"""Replayed from demonstrations: not the choice at the root nor the queries, which are what reinforcement changes."""
DIRECT = Teach(decisions=False, arguments=False)
"""The base model's own answers: the direct branch, given that it is taken; whether to take it is not its business."""


def example(
    prompt_ids: tuple[int, ...],
    trajectory: Trajectory,
    *,
    render: Render,
    opening_length: Callable[[Action], int],
    teach: Teach = EVERYTHING,
) -> Example:
    """The trajectory as one sequence. `opening_length` counts the tokens of a call's opening with the tool's name.

    Raises:
        ValueError: an action has no tokens, or nothing in the sequence would be learnt.
    """
    ids, parts = list(prompt_ids), _Parts()
    for turn, transition in enumerate(trajectory.transitions):
        action = transition.action
        if action.message.token_ids is None:
            raise ValueError(f"trajectory {trajectory.trajectory_id}: turn {turn} has no tokens")
        last = turn + 1 == len(trajectory.transitions)
        if last or not teach.only_last:
            decide = teach.decisions and (turn > 0 or teach.first_decision)
            parts.add(action, len(ids), opening_length, teach, decide=decide)
        if not last:
            ids += render(action.message)
            for result in transition.results:
                ids += render(Message("tool", result.content))
        else:
            ids += action.message.token_ids
    return parts.example(tuple(ids))


class _Parts:
    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []
        self.stays: list[int] = []
        self.arguments: list[int] = []
        self.answers: list[int] = []
        self.firsts: list[int] = []

    def add(
        self, action: Action, start: int, opening_length: Callable[[Action], int], teach: Teach, *, decide: bool
    ) -> None:
        """Mark the targets of one turn that begins at position `start`."""
        written = [start + offset for offset, chosen in enumerate(action.written) if chosen]
        if action.decision == ANSWER:
            self.firsts.append(start)
            if decide:
                self.stays.append(start)
            if teach.answers:
                self.answers += written
            return
        if decide:
            self.calls.append((start, start + opening_length(action)))
        if teach.arguments and action.decision not in teach.silent:
            self.arguments += written

    def example(self, ids: tuple[int, ...]) -> Example:
        """The sequence up to its last target: what comes later teaches nothing and would only be computed."""
        targets = [*self.arguments, *self.answers, *self.stays, *(stop - 1 for _, stop in self.calls)]
        return Example(
            ids=ids[: max(targets, default=-1) + 1],
            calls=tuple(self.calls),
            stays=tuple(self.stays),
            arguments=tuple(self.arguments),
            answers=tuple(self.answers),
            firsts=tuple(first for first in self.firsts if first <= max(targets, default=-1)),
        )
