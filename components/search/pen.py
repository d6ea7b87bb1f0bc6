"""How what trees want written comes to be written: all of a round together, or each tree at its own pace.

Takes proposal requests by key (a tree's); gives them back answered. Trees that wait for one another decode side by side
only as long as the shortest of their turns: of sixteen that write a program or a query, most soon idle. A pen that a
policy lends (`Verbs.pen`) goes on writing for some trees while others have already seen what came of their actions.
What is written depends on its request alone, so the trees are the same either way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from components.schema.proposal import Proposal, ProposalRequest

Written = tuple[int, Sequence[Proposal]]
"""A key, and what was written for its requests, one each, in order."""


class Pen(Protocol):
    """Writes for several trees."""

    def begin(self, key: int, requests: Sequence[ProposalRequest]) -> None:
        """Ask for samples of decisions, perhaps none; of one key at a time."""

    def written(self) -> Sequence[Written]:
        """The keys whose requests are all answered, each told once, in the order in which they were begun; at least one
        while any is waiting."""


class Together:
    """All that was begun, in one batch."""

    def __init__(self, propose: Callable[[Sequence[ProposalRequest]], Sequence[Sequence[Proposal]]]) -> None:
        self._propose = propose
        self._begun: list[tuple[int, Sequence[ProposalRequest]]] = []

    def begin(self, key: int, requests: Sequence[ProposalRequest]) -> None:
        self._begun.append((key, requests))

    def written(self) -> Sequence[Written]:
        begun, self._begun = self._begun, []
        asked = [request for _, requests in begun for request in requests]
        answers = iter(proposal for several in self._propose(asked) for proposal in several) if asked else iter(())
        return [(key, [next(answers) for _ in requests]) for key, requests in begun]
