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
        self._beside: Floor | None = None
        self._held = 0
        """A floor that may go on while other things are done, and the first rows, which are its own."""

    def forget(self) -> None:
        """Drop cached rows; required whenever the weights changed."""
        self._asked = self._turns = ()
        self._beside = None
        self._writer.forget()

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Action]:
        """One action a request, in order."""
        return self.converse([one_turn(request) for request in requests])

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
            for place, turn in enumerate(some, start=self._first_row()):
                turn.place = place
            self._writer.read(some)
        self._asked, self._turns = tuple(requests), tuple(turns)
        return turns

    def converse(self, talks: Sequence[Talk[R]]) -> list[R]:
        """What each conversation returns, in order; as many as there are rows go on side by side, in lockstep."""
        self._asked = self._turns = ()
        return answers(talks, Floor(self._writer, self._open, slots=self._slots, first=self._first_row()))

    def beside(self, rows: int) -> Floor:
        """An empty floor of at most `rows` rows, in lockstep, that conversations may join at any time, and whose rounds
        may be mixed with everything else that is asked here: its rows are left to it. One at a time.

        Raises:
            RuntimeError: the last one is still busy.
        """
        if self._first_row():
            raise RuntimeError("another floor is open beside: its conversations are not over")
        self._asked = self._turns = ()
        self._held = min(rows, self._slots)
        self._beside = Floor(self._writer, self._open, slots=self._held)
        return self._beside

    def _first_row(self) -> int:
        return self._held if self._beside is not None and self._beside.busy else 0

    def live(self, wake: Callable[[], None]) -> Floor:
        """An empty floor that conversations may join at any time; `wake` is called when a tool has answered."""
        self._asked = self._turns = ()
        return Floor(self._writer, self._open, slots=self._slots, wake=wake)

    def _open(self, request: GenerateRequest) -> Turn:
        return open_turn(request, vocabulary=self._vocabulary, capacity=self._capacity)


def one_turn(request: GenerateRequest) -> Talk[Action]:
    """A conversation of one turn."""
    action: Action = yield request
    return action
