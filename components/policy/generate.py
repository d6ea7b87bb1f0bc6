"""The verb `generate`: decide, then write the arguments or the answer. Takes requests; gives actions with their tokens.

Continuous batching: conversations sit in the rows of one session. Every few decode steps a round begins, in which those
whose tools have answered are read on from where they stopped, waiting ones take free rows, and contexts that several
share are read once. When rounds begin and who takes part follows from the requests alone, never from the clock, so that
a run can be repeated. A request that cannot be carried out ends alone (StopReason.REFUSED). It runs no tools itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from components.policy.turn import GenerateRequest, Turn, open_turn
from components.policy.writing import Writer
from components.schema.trajectory import Action

R = TypeVar("R")
Talk = Generator["GenerateRequest | Future[Any]", Any, R]
"""A conversation: yields requests and is sent actions, yields futures (of tool calls) and is sent their results; in the
end it returns something."""

ROUND = 8
"""Decode steps between rounds."""
PATIENCE = 4
"""Decode steps that a tool has before a round waits for it."""


@dataclass(slots=True)
class _Seat:
    """A conversation and where it stands."""

    number: int
    talk: Talk[Any]
    place: int = -1
    """Row of the session that it holds; -1 before it has one."""
    turn: Turn | None = None
    """The turn to be written next, or being written."""
    waiting: Future[Any] | None = None
    """What its tool will say."""
    since: int = 0
    """Decode step at which it began to wait."""


class Generating:
    """Generates for one set of weights."""

    def __init__(self, writer: Writer, *, slots: int, vocabulary: int, capacity: int) -> None:
        """`slots`: most rows decoded side by side; `capacity`: most tokens a row can hold."""
        self._writer, self._slots = writer, slots
        self._vocabulary, self._capacity = vocabulary, capacity

    def forget(self) -> None:
        """Drop cached rows; required whenever the weights changed."""
        self._writer.forget()

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Action]:
        """One action a request, in order."""
        return self.converse([_one_turn(request) for request in requests])

    def read(self, requests: Sequence[GenerateRequest]) -> list[Turn]:
        """Each request's turn, undecided: P over {answer, tools} and the hidden state at the end of its context.

        Contexts read here are not read again by `generate`.
        """
        turns = [self._open(replace(request, decision=None)) for request in requests]
        fit = [turn for turn in turns if not turn.done]
        for first in range(0, len(fit), self._slots):
            some = fit[first : first + self._slots]
            for place, turn in enumerate(some):
                turn.place = place
            self._writer.read(some)
        return turns

    def converse(self, talks: Sequence[Talk[R]]) -> list[R]:
        """What each conversation returns, in order; as many as there are rows go on side by side."""
        results: dict[int, R] = {}
        queue: deque[_Seat] = deque()
        for number, talk in enumerate(talks):
            seat = _Seat(number, talk)
            self._advance(seat, None, results, 0)
            queue.append(seat)
        seated: list[_Seat] = []
        free = set(range(self._slots))
        step = 0
        while queue or seated:
            self._take_results(seated, results, step)
            self._seat_waiting(queue, seated, free, results, step)
            self._begin_round(seated)
            for _ in range(ROUND):
                writing = [seat.turn for seat in seated if seat.turn is not None and seat.turn.begun()]
                if writing:
                    self._writer.step(writing)
                    step += 1
                for seat in [seat for seat in seated if seat.turn is not None and seat.turn.done]:
                    assert seat.turn is not None
                    self._advance(seat, self._writer.action(seat.turn), results, step)
                if not writing:
                    break
            free |= {seat.place for seat in seated if seat.number in results}
            seated = [seat for seat in seated if seat.number not in results]
            if not queue:
                self._close_ranks(seated, free)
        return [results[number] for number in range(len(talks))]

    def _open(self, request: GenerateRequest) -> Turn:
        return open_turn(request, vocabulary=self._vocabulary, capacity=self._capacity)

    def _advance(self, seat: _Seat, said: Any, results: dict[int, Any], step: int) -> None:
        """Tell the conversation what came of what it asked for, and note what it asks for next.

        A request that is refused at once is answered at once.
        """
        while True:
            seat.turn = seat.waiting = None
            try:
                asked = seat.talk.send(said)
            except StopIteration as end:
                results[seat.number] = end.value
                return
            if isinstance(asked, Future):
                seat.waiting, seat.since = asked, step
                return
            seat.turn = self._open(asked)
            if not seat.turn.done:
                return
            said = self._writer.action(seat.turn)

    def _take_results(self, seated: Sequence[_Seat], results: dict[int, Any], step: int) -> None:
        """Go on with those whose tools have had their time, waiting for them; with all when nobody else can go on."""
        waiting = [seat for seat in seated if seat.waiting is not None]
        due = [seat for seat in waiting if step - seat.since >= PATIENCE]
        if not due and len(waiting) == len(seated):
            due = waiting
        for seat in due:
            self._wait(seat, results, step)

    def _wait(self, seat: _Seat, results: dict[int, Any], step: int) -> None:
        """Until the conversation asks for a turn, or ends."""
        while seat.waiting is not None:
            self._advance(seat, seat.waiting.result(), results, step)

    def _seat_waiting(
        self, queue: deque[_Seat], seated: list[_Seat], free: set[int], results: dict[int, Any], step: int
    ) -> None:
        """Give free rows to those who wait for one, once a conversation that began with a call has its result."""
        while queue and free:
            seat = queue.popleft()
            self._wait(seat, results, step)
            if seat.number not in results:
                seat.place = self._choose_place(seat, free)
                free.discard(seat.place)
                seated.append(seat)

    def _choose_place(self, seat: _Seat, free: set[int]) -> int:
        """The free row in which the context was read, else the lowest one."""
        assert seat.turn is not None
        known = self._writer.place_of(seat.turn.request.context_ids)
        return known if known in free else min(free)

    def _begin_round(self, seated: Sequence[_Seat]) -> None:
        """Read the contexts of new turns and open the calls that were decided on."""
        turns = []
        for seat in seated:
            if seat.turn is not None and seat.turn.place < 0:
                seat.turn.place = seat.place
                turns.append(seat.turn)
        self._writer.read(turns)
        self._writer.begin([turn for turn in turns if not turn.done])

    def _close_ranks(self, seated: Sequence[_Seat], free: set[int]) -> None:
        """Move the last rows into free ones below them, when nobody is left to take those: attention spans them all."""
        if not seated or len(seated) > 0.75 * (max(seat.place for seat in seated) + 1):
            return
        targets, sources = [], []
        for seat in sorted(seated, key=lambda seat: -seat.place):
            lowest = min(free, default=seat.place)
            if lowest >= seat.place:
                break
            targets.append(lowest)
            sources.append(seat.place)
            free.discard(lowest)
            free.add(seat.place)
            seat.place = lowest
            if seat.turn is not None and seat.turn.place >= 0:
                seat.turn.place = lowest
        self._writer.move(targets, sources)


def _one_turn(request: GenerateRequest) -> Talk[Action]:
    action: Action = yield request
    return action
