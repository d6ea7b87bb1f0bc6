"""Conversations that go on side by side in the rows of one session: continuous batching.

Takes conversations, at any time; tells each one's end. Every few decode steps a round begins, in which those whose
tools have answered are read on from where they stopped, waiting ones take free rows, and contexts that several share
are read once. In lockstep, when rounds begin and who takes part follows from the requests alone, never from the clock,
so that a run can be repeated. Live, nobody waits for the tools of others: what a conversation is told still follows
from its own requests alone, for a turn does not depend on what is written beside it. Runs no tools itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from components.policy.turn import GenerateRequest, Turn
from components.policy.writing import Writer

R = TypeVar("R")
Talk = Generator["GenerateRequest | Future[Any]", Any, R]
"""A conversation: yields requests and is sent actions, yields futures (of tool calls) and is sent their results, or has
raised in it what they raise; in the end it returns something."""

ROUND = 8
"""Decode steps between rounds."""
PATIENCE = 4
"""Decode steps that a tool has, in lockstep, before a round waits for it."""


@dataclass(slots=True, eq=False)
class _Seat:
    """A conversation and where it stands."""

    talk: Talk[Any]
    ended: Callable[[Any], None]
    place: int = -1
    """Row of the session that it holds; -1 before it has one."""
    turn: Turn | None = None
    """The turn to be written next, or being written."""
    waiting: Future[Any] | None = None
    """What its tool will say."""
    since: int = 0
    """Decode step at which it began to wait."""
    over: bool = False


class Floor:
    """Those who talk, and those who wait for a row."""

    def __init__(
        self,
        writer: Writer,
        open_turn: Callable[[GenerateRequest], Turn],
        *,
        slots: int,
        first: int = 0,
        wake: Callable[[], None] | None = None,
    ) -> None:
        """`slots`: most rows decoded side by side, from row `first` on. `wake`: live, and called when a tool answered;
        None: lockstep."""
        self._writer, self._open, self._wake = writer, open_turn, wake
        self._queue: deque[_Seat] = deque()
        self._seated: list[_Seat] = []
        self._free, self._first = set(range(first, first + slots)), first
        self._step = 0
        self._moved = False
        """Whether anybody went on in this round."""

    @property
    def busy(self) -> bool:
        """Whether a conversation is not over."""
        return bool(self._queue or self._seated)

    def add(self, talk: Talk[R], ended: Callable[[R], None]) -> None:
        """A conversation more; `ended` is told what it returns."""
        seat = _Seat(talk, ended)
        self._advance(seat, None)
        if not seat.over:
            self._queue.append(seat)

    def round(self) -> bool:
        """One round; False, live, when everybody waits for a tool: nothing is to be done until `wake` is called."""
        self._moved = False
        self._take_results()
        self._seat_waiting()
        self._begin_round()
        for _ in range(ROUND):
            writing = [seat.turn for seat in self._seated if seat.turn is not None and seat.turn.begun()]
            if writing:
                self._writer.step(writing)
                self._step += 1
                self._moved = True
            for seat in [seat for seat in self._seated if seat.turn is not None and seat.turn.done]:
                assert seat.turn is not None
                self._advance(seat, self._writer.action(seat.turn))
            if not writing:
                break
        self._free |= {seat.place for seat in self._seated if seat.over}
        self._seated = [seat for seat in self._seated if not seat.over]
        if not self._queue:
            self._close_ranks()
        return self._moved

    def _advance(self, seat: _Seat, said: Any, error: BaseException | None = None) -> None:
        """Tell the conversation what came of what it asked for, and note what it asks for next.

        A request that is refused at once is answered at once.
        """
        self._moved = True
        while True:
            seat.turn = seat.waiting = None
            try:
                asked = seat.talk.send(said) if error is None else seat.talk.throw(error)
            except StopIteration as end:
                seat.over = True
                seat.ended(end.value)
                return
            if isinstance(asked, Future):
                seat.waiting, seat.since = asked, self._step
                if self._wake is not None:
                    asked.add_done_callback(self._answered)
                return
            seat.turn = self._open(asked)
            if not seat.turn.done:
                return
            said, error = self._writer.action(seat.turn), None

    def _answered(self, tool: Future[Any]) -> None:
        assert self._wake is not None
        self._wake()

    def _take_results(self) -> None:
        """Live: go on with those whose tools have answered. In lockstep with those whose tools have had their time,
        waiting for them; with all when nobody else can go on."""
        waiting = [seat for seat in self._seated if seat.waiting is not None]
        if self._wake is None:
            due = [seat for seat in waiting if self._step - seat.since >= PATIENCE]
            if not due and len(waiting) == len(self._seated):
                due = waiting
        else:
            due = waiting
        for seat in due:
            self._go_on(seat)

    def _go_on(self, seat: _Seat) -> None:
        """Until the conversation asks for a turn, or ends; live, as far as its tools have answered."""
        while seat.waiting is not None and (self._wake is None or seat.waiting.done()):
            error = seat.waiting.exception()
            self._advance(seat, None if error is not None else seat.waiting.result(), error)

    def _seat_waiting(self) -> None:
        """Give free rows to those who wait for one, once a conversation that began with a call has its result."""
        later: list[_Seat] = []
        while self._queue and self._free:
            seat = self._queue.popleft()
            self._go_on(seat)
            if seat.waiting is not None:
                later.append(seat)
            elif not seat.over:
                seat.place = self._choose_place(seat)
                self._free.discard(seat.place)
                self._seated.append(seat)
        self._queue.extendleft(reversed(later))

    def _choose_place(self, seat: _Seat) -> int:
        """The free row in which the context was read, else the lowest one."""
        assert seat.turn is not None
        known = self._writer.place_of(seat.turn.request.context_ids)
        return known if known in self._free else min(self._free)

    def _begin_round(self) -> None:
        """Read the contexts of new turns and open the calls that were decided on."""
        turns = []
        for seat in self._seated:
            if seat.turn is not None and seat.turn.place < 0:
                seat.turn.place = seat.place
                turns.append(seat.turn)
        self._writer.read(turns)
        self._writer.begin([turn for turn in turns if not turn.done])

    def _close_ranks(self) -> None:
        """Move the last rows into free ones below them, when nobody is left to take those: attention spans them all."""
        seated, free = self._seated, self._free
        if not seated or len(seated) > 0.75 * (max(seat.place for seat in seated) + 1 - self._first):
            return
        targets: list[int] = []
        sources: list[int] = []
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


def answers(talks: Sequence[Talk[R]], floor: Floor) -> list[R]:
    """What each conversation returns, in order; as many as there are rows go on side by side."""
    results: dict[int, R] = {}

    def ended(number: int) -> Callable[[R], None]:
        return lambda result: results.__setitem__(number, result)

    for number, talk in enumerate(talks):
        floor.add(talk, ended(number))
    while floor.busy:
        floor.round()
    return [results[number] for number in range(len(talks))]
