"""What a state is worth before it is searched: the chance of a correct answer, and the cost still to come.

Takes states; gives `Worth`, and the estimate of someone who knows nothing. Estimates by a model belong to the policy
(`components.policy.appraise`); the value of a node, V = p-hat - lambda (spent + C-hat), is made in
`components.search.appraisal`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from components.schema.trajectory import State

UNINFORMED = 0.25
"""Chance of an unfinished task of which nothing is known: better than a failure, worse than a success."""


@dataclass(frozen=True, slots=True)
class Worth:
    """An estimate."""

    chance: float
    """p-hat in [0, 1]: how likely the state ends in a correct answer."""
    cost_to_go: float = 0.0
    """C-hat: units of the price sheet that will still be spent."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.chance <= 1.0:
            raise ValueError(f"value {self.chance} of a state is not a chance in [0, 1]")
        if not 0.0 <= self.cost_to_go < float("inf"):
            raise ValueError(f"cost to go {self.cost_to_go} is not a cost")


Value = Callable[[Sequence[State]], Sequence[Worth]]
"""Estimates of unfinished states."""


def open_tasks(state: State) -> int:
    """Sub-tasks that are still to be done before the problem itself is answered."""
    return sum(len(plan.tasks) - len(plan.results) for plan in state.stack)


def uninformed(states: Sequence[State]) -> list[Worth]:
    """Every task is as likely as any other, and a stack of them needs all (AND): the product of their chances."""
    return [Worth(UNINFORMED ** (1 + open_tasks(state))) for state in states]


def worth_by(
    estimate: Callable[[Sequence[State]], Sequence[tuple[float, float]]],
) -> Callable[[Sequence[State]], list[Worth]]:
    """A model's estimates (chance and cost to go of each state) as what a search asks for."""

    def worth(states: Sequence[State]) -> list[Worth]:
        return [Worth(chance, cost_to_go) for chance, cost_to_go in estimate(states)]

    return worth
