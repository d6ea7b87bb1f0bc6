"""The verb `generate`: decide, then write the arguments or the answer. Takes requests; gives actions with their tokens.

Several requests and whole conversations go on side by side (`components.policy.floor`). A request that cannot be
carried out ends alone (StopReason.REFUSED). It runs no tools itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from components.policy.floor import Floor, Talk, answers
from components.policy.turn import GenerateRequest, Turn, open_turn
from components.policy.writing import Writer
from components.schema.trajectory import Action

R = TypeVar("R")


class Generating:
    """Generates for one set of weights."""

    def __init__(self, writer: Writer, *, slots: int, vocabulary: int, capacity: int) -> None:
        """`slots`: most rows decoded side by side; `capacity`: most tokens a row can hold."""
        self._writer, self._slots = writer, slots
        self._vocabulary, self._capacity = vocabulary, capacity
        self._asked: Sequence[GenerateRequest] = ()
        self._turns: Sequence[Turn] = ()
        """What was read last, and the turns that came of it, until something else is done."""

    def forget(self) -> None:
        """Drop cached rows; required whenever the weights changed."""
        self._asked = self._turns = ()
        self._writer.forget()

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Action]:
        """One action a request, in order."""
        return self.converse([_one_turn(request) for request in requests])

    def read(self, requests: Sequence[GenerateRequest]) -> list[Turn]:
        """Each request's turn, undecided: P over {answer, tools} and the hidden state at the end of its context.

        Contexts read here are not read again by `generate`; asked again at once, as by a search that wants the
        decisions at the states that it has just valued, nothing is computed.
        """
        if self._asked and list(requests) == list(self._asked):
            return list(self._turns)
        turns = [self._open(replace(request, decision=None)) for request in requests]
        fit = [turn for turn in turns if not turn.done]
        for first in range(0, len(fit), self._slots):
            some = fit[first : first + self._slots]
            for place, turn in enumerate(some):
                turn.place = place
            self._writer.read(some)
        self._asked, self._turns = tuple(requests), tuple(turns)
        return turns

    def converse(self, talks: Sequence[Talk[R]]) -> list[R]:
        """What each conversation returns, in order; as many as there are rows go on side by side, in lockstep."""
        self._asked = self._turns = ()
        return answers(talks, Floor(self._writer, self._open, slots=self._slots))

    def live(self, wake: Callable[[], None]) -> Floor:
        """An empty floor that conversations may join at any time; `wake` is called when a tool has answered."""
        self._asked = self._turns = ()
        return Floor(self._writer, self._open, slots=self._slots, wake=wake)

    def _open(self, request: GenerateRequest) -> Turn:
        return open_turn(request, vocabulary=self._vocabulary, capacity=self._capacity)


def _one_turn(request: GenerateRequest) -> Talk[Action]:
    action: Action = yield request
    return action
