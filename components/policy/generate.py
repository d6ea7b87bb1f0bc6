"""The verb `generate`: decide, then write the arguments or the answer. Takes requests; gives actions with their tokens.

Continuous batching: conversations sit in the rows of one session. Every few decode steps a round begins, in which those
whose tools have answered are read on from where they stopped, waiting ones take free rows, and contexts that several
share are read once. When rounds begin and who takes part follows from the requests alone, never from the clock, so that
a run can be repeated. A request that cannot be carried out ends alone (StopReason.REFUSED). It runs no tools itself.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from components.policy.chat import Chat
from components.policy.constrained import ArgumentGrammars, ArgumentMatcher
from components.policy.decision import choose, opening_logprobs, probabilities
from components.policy.sampling import sample, uniforms
from components.policy.session import Session
from components.schema.message import Message
from components.schema.tool import ToolSpec
from components.schema.trajectory import ANSWER, Action, StopReason
from components.tools.grammar import parse_turn

T = TypeVar("T")
R = TypeVar("R")
Talk = Generator["GenerateRequest | Future[Any]", Any, R]
"""A conversation: yields requests and is sent actions, yields futures (of tool calls) and is sent their results; in the
end it returns something."""
_Key = tuple[tuple[int, ...], tuple[str, ...]]
"""Context and names of the tools shown: requests with the same key are read once."""

ROUND = 8
"""Decode steps between rounds."""
PATIENCE = 4
"""Decode steps that a tool has before a round waits for it."""


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One turn to write."""

    context_ids: tuple[int, ...]
    specs: tuple[ToolSpec, ...]
    """Tools that may be called; none leaves only the answer."""
    decision: str | None = None
    """A forced decision; None lets the policy decide."""
    temperature: float = 0.0
    """Of argument tokens; 0 is greedy."""
    answer_temperature: float = 0.0
    decision_temperature: float = 0.0
    seed: int = 0
    min_answer_tokens: int = 0
    """Tokens before which an answer may not end."""
    max_answer_tokens: int = 32
    max_argument_tokens: int = 48
    max_context_tokens: int = 640
    cancelled: threading.Event | None = None
    """Set by whoever does not want the turn any more: it ends CANCELLED at the next token."""


@dataclass(slots=True)
class _Row:
    """One request while it is being written."""

    request: GenerateRequest
    uniform: list[float]
    place: int = -1
    """Row of the session."""
    decision: str = ANSWER
    probs: dict[str, float] | None = None
    matcher: ArgumentMatcher | None = None
    tokens: list[int] = field(default_factory=list)
    written: list[bool] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    hidden: Tensor | None = None
    """[hidden] at the last token seen; what the next token is drawn from."""
    done: bool = False
    stop: StopReason | None = None
    reason: str = ""
    """Why the request was refused."""

    def add(self, tokens: Sequence[int], *, written: bool, logprob: float = 0.0) -> None:
        self.tokens.extend(tokens)
        self.written.extend([written] * len(tokens))
        self.logprobs.extend([logprob] * len(tokens))

    def temperature(self) -> float:
        return self.request.answer_temperature if self.decision == ANSWER else self.request.temperature

    def chosen(self) -> int:
        """Tokens the policy chose so far."""
        return sum(self.written)

    def end(self, stop: StopReason | None = None, reason: str = "") -> None:
        """The turn is over."""
        self.done, self.stop, self.reason = True, stop, reason

    def begun(self) -> bool:
        """Whether the turn is being written: read, and not over."""
        return self.place >= 0 and not self.done

    def key(self) -> _Key:
        return self.request.context_ids, tuple(spec.name for spec in self.request.specs)

    def undecided(self) -> bool:
        return self.request.decision is None and bool(self.request.specs)


@dataclass(slots=True)
class _Seat:
    """A conversation and where it stands."""

    number: int
    talk: Talk[Any]
    place: int = -1
    """Row of the session that it holds; -1 before it has one."""
    row: _Row | None = None
    """The turn to be written next, or being written."""
    waiting: Future[Any] | None = None
    """What its tool will say."""
    since: int = 0
    """Decode step at which it began to wait."""


class Generating:
    """Generates for one set of weights. Rows keep what they held: contexts often come back, alone or longer."""

    def __init__(
        self,
        chat: Chat,
        grammars: ArgumentGrammars,
        new_session: Callable[[int], Session],
        *,
        slots: int,
        prefill_tokens: int,
        vocabulary: int,
    ) -> None:
        """`new_session(rows)` opens empty rows under the current weights; `slots`: most rows decoded side by side."""
        self._chat, self._grammars, self._new_session = chat, grammars, new_session
        self._slots, self._prefill_tokens, self._vocabulary = slots, prefill_tokens, vocabulary
        self._session: Session | None = None
        self._known: dict[tuple[int, ...], int] = {}
        """Row in which a context was read; whether it still holds it is checked before use."""

    def forget(self) -> None:
        """Drop cached rows; required whenever the weights changed."""
        self._session = None
        self._known = {}

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Action]:
        """One action a request, in order."""
        return self.converse([_one_turn(request) for request in requests])

    def decide(self, requests: Sequence[GenerateRequest]) -> list[dict[str, float]]:
        """P over {answer, tools} of each request's state; contexts read here are not read again by `generate`."""
        rows = [self._row(replace(request, decision=None)) for request in requests]
        fit = [row for row in rows if not row.done]
        for first in range(0, len(fit), self._slots):
            some = fit[first : first + self._slots]
            for place, row in enumerate(some):
                row.place = place
            self._read(some, choosing=False)
        return [row.probs if row.probs is not None else {ANSWER: 1.0} for row in rows]

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
            while queue and (free or queue[0].row is None):
                seat = queue.popleft()
                if seat.number in results:
                    continue
                if seat.waiting is not None:  # began with a call: it needs no row yet
                    self._advance(seat, seat.waiting.result(), results, step)
                    queue.appendleft(seat)
                    continue
                seat.place = self._choose_place(seat, free)
                free.discard(seat.place)
                seated.append(seat)
            self._begin_round([seat for seat in seated if seat.row is not None and seat.row.place < 0])
            for _ in range(ROUND):
                writing = [seat.row for seat in seated if seat.row is not None and seat.row.begun()]
                if writing:
                    self._step(writing)
                    step += 1
                for seat in [seat for seat in seated if seat.row is not None and seat.row.done]:
                    assert seat.row is not None
                    self._advance(seat, self._action(seat.row), results, step)
                if not writing:
                    break
            gone = [seat for seat in seated if seat.number in results]
            free |= {seat.place for seat in gone}
            seated = [seat for seat in seated if seat.number not in results]
            self._close_ranks(seated, free, queue)
        return [results[number] for number in range(len(talks))]

    # Conversations ----------------------------------------------------------------------------------------------------

    def _advance(self, seat: _Seat, said: Any, results: dict[int, Any], step: int) -> None:
        """Tell the conversation what came of what it asked for, and note what it asks for next.

        A request that is refused at once is answered at once.
        """
        while True:
            seat.row = seat.waiting = None
            try:
                asked = seat.talk.send(said)
            except StopIteration as end:
                results[seat.number] = end.value
                return
            if isinstance(asked, Future):
                seat.waiting, seat.since = asked, step
                return
            seat.row = self._row(asked)
            if not seat.row.done:
                return
            said = self._action(seat.row)

    def _take_results(self, seated: Sequence[_Seat], results: dict[int, Any], step: int) -> None:
        """Go on with those whose tools have had their time, waiting for them; with all when nobody else can go on."""
        waiting = [seat for seat in seated if seat.waiting is not None]
        due = [seat for seat in waiting if step - seat.since >= PATIENCE]
        if not due and len(waiting) == len(seated):
            due = waiting
        for seat in due:
            while seat.waiting is not None:
                self._advance(seat, seat.waiting.result(), results, step)

    def _choose_place(self, seat: _Seat, free: set[int]) -> int:
        """The free row that already holds the context, else the lowest one."""
        assert seat.row is not None
        known = self._known.get(seat.row.request.context_ids, -1)
        return known if known in free else min(free)

    def _close_ranks(self, seated: Sequence[_Seat], free: set[int], queue: Sequence[_Seat]) -> None:
        """Move the last rows into free ones below them, when nobody is left to take those: attention spans them all."""
        session = self._session
        if session is None or queue or not seated or len(seated) > 0.75 * (max(seat.place for seat in seated) + 1):
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
            if seat.row is not None and seat.row.place >= 0:
                seat.row.place = lowest
        session.assign(targets, sources)

    # Rows -------------------------------------------------------------------------------------------------------------

    def _row(self, request: GenerateRequest) -> _Row:
        """The request as a row; over at once when it cannot be carried out."""
        row = _Row(request, list(uniforms(request.seed, 256)))
        context = request.context_ids
        room = max(request.max_answer_tokens, request.max_argument_tokens + 32)
        if not context:
            row.end(StopReason.REFUSED, "the prompt is empty")
        elif min(context) < 0 or max(context) >= self._vocabulary:
            row.end(StopReason.REFUSED, f"a token id is not in 0..{self._vocabulary - 1}")
        elif len(context) + room > request.max_context_tokens:
            row.end(StopReason.TRUNCATED)
        elif request.decision not in (None, ANSWER, *(spec.name for spec in request.specs)):
            row.end(StopReason.REFUSED, f"{request.decision!r} is not among the tools shown")
        return row

    def _begin_round(self, seats: Sequence[_Seat]) -> None:
        rows = []
        for seat in seats:
            assert seat.row is not None
            seat.row.place = seat.place
            rows.append(seat.row)
        self._read(rows, choosing=True)
        self._begin([row for row in rows if not row.done])

    def _read(self, rows: Sequence[_Row], *, choosing: bool) -> None:
        """Read every context (with the calls' shared opening where a decision is due); decide.

        Of several rows with one context, the first reads and the others copy.
        """
        session = self._open_session(max((row.place for row in rows), default=0) + 1)
        leaders: dict[_Key, _Row] = {}
        for row in rows:
            leaders.setdefault(row.key(), row)
        undecided = {row.key() for row in rows if row.undecided() or (not choosing and row.request.specs)}
        self._reuse(session, list(leaders.values()))
        opening = self._chat.call_opening
        work = []
        for key, row in leaders.items():
            extra = opening if key in undecided else ()
            work.append((row.place, row, key[0][len(session.rows[row.place]) :] + extra, len(extra) + 1))
        probs: dict[_Key, dict[str, float]] = {}
        for batch in _by_size(work, self._prefill_tokens):
            kept = session.append([b[0] for b in batch], [b[2] for b in batch], [b[3] for b in batch])
            for (place, row, _, _), states in zip(batch, kept, strict=True):
                row.hidden = states[0]
                self._known[row.request.context_ids] = place
                if row.key() in undecided:
                    probs[row.key()] = self._probabilities(session, place, row.request.specs, states)
        followers = [row for row in rows if leaders[row.key()] is not row]
        session.assign([row.place for row in followers], [leaders[row.key()].place for row in followers])
        for row in rows:
            row.hidden, row.probs = leaders[row.key()].hidden, probs.get(row.key())
            if choosing:
                self._take_decision(row)
            if row.decision == ANSWER or row.key() not in undecided or not choosing:
                session.rewind(row.place, len(row.request.context_ids))

    def _take_decision(self, row: _Row) -> None:
        if row.request.decision is not None:
            row.decision = row.request.decision
        elif row.probs is not None:
            if all(p == p for p in row.probs.values()):
                heat = row.request.decision_temperature
                row.decision = choose(row.probs, temperature=heat, uniform=lambda: row.uniform[-1])
            else:
                row.end(StopReason.REFUSED, "the model's logits are not numbers")

    def _open_session(self, rows: int = 1) -> Session:
        if self._session is None:
            self._session = self._new_session(rows)
        self._session.widen(rows)
        return self._session

    def _reuse(self, session: Session, rows: Sequence[_Row]) -> None:
        """Each row's place holds the longest prefix of its context that some row holds; the last token is read anew."""
        targets, sources, lengths = [], [], []
        for row in rows:
            context = list(row.request.context_ids)
            source = row.place
            if not _begins(context, session.rows[source]):
                known = self._known.get(row.request.context_ids, -1)
                source = known if known >= 0 and session.rows[known][: len(context) - 1] == context[:-1] else source
            targets.append(row.place)
            sources.append(source)
            lengths.append(min(_common(context, session.rows[source]), len(context) - 1))
        session.assign(targets, sources)
        for row, length in zip(rows, lengths, strict=True):
            session.rewind(row.place, length)

    def _probabilities(
        self, session: Session, number: int, specs: Sequence[ToolSpec], states: Tensor
    ) -> dict[str, float]:
        names = {spec.name: self._chat.encode(spec.name) for spec in specs}
        shared, first = opening_logprobs(session.logits(states), self._chat.call_opening, names)
        logprobs = {name: float(shared + first[k]) for k, name in enumerate(names)}
        for name, ids in names.items():
            if len(ids) > 1:
                logprobs[name] += self._rest_of_name(session, number, ids)
        return probabilities(logprobs)

    def _rest_of_name(self, session: Session, number: int, ids: Sequence[int]) -> float:
        length = len(session.rows[number])
        (states,) = session.append([number], [ids[:-1]], [len(ids) - 1])
        session.rewind(number, length)
        logprobs = session.logits(states).float().log_softmax(-1)
        return float(logprobs.gather(1, torch.tensor(list(ids[1:]))[:, None]).sum())

    # Writing ----------------------------------------------------------------------------------------------------------

    def _begin(self, rows: Sequence[_Row]) -> None:
        """Write the opening of every chosen call."""
        session, work = self._open_session(), []
        for row in rows:
            if row.decision == ANSWER:
                continue
            spec = next(spec for spec in row.request.specs if spec.name == row.decision)
            try:
                row.matcher = self._grammars.matcher(spec)
            except ValueError as error:
                row.end(StopReason.REFUSED, str(error))
                continue
            row.add(self._chat.call_opening + self._chat.encode(spec.name) + row.matcher.opening(), written=False)
            missing = len(row.tokens) - (len(session.rows[row.place]) - len(row.request.context_ids))
            work.append((row.place, row, tuple(row.tokens[-missing:]), 1))
        for batch in _by_size(work, self._prefill_tokens):
            kept = session.append([b[0] for b in batch], [b[2] for b in batch], [1] * len(batch))
            for (_, row, _, _), states in zip(batch, kept, strict=True):
                row.hidden = states[-1]

    def _step(self, rows: Sequence[_Row]) -> None:
        """One token for every row."""
        session = self._open_session()
        for row in rows:
            if row.request.cancelled is not None and row.request.cancelled.is_set():
                row.end(StopReason.CANCELLED)
        self._draw(session, [row for row in rows if not row.done])
        going = [row for row in rows if not row.done]
        if going:
            kept = session.append([row.place for row in going], [[row.tokens[-1]] for row in going], [1] * len(going))
            for row, states in zip(going, kept, strict=True):
                row.hidden = states[-1]

    def _draw(self, session: Session, rows: Sequence[_Row]) -> None:
        if not rows:
            return
        logits = session.logits(torch.stack([row.hidden for row in rows if row.hidden is not None]))
        for number, row in enumerate(rows):
            if row.decision != ANSWER:
                continue
            if row.request.specs and not row.tokens:
                # The decision was to answer: the first token of an answer is drawn given that no call opens.
                logits[number, self._chat.call_opening[0]] = float("-inf")
            if len(row.tokens) < row.request.min_answer_tokens:
                logits[number, self._chat.end_id] = float("-inf")
        uniform = torch.tensor([row.uniform[row.chosen() % 255] for row in rows], dtype=torch.float32)
        hot = torch.tensor([row.temperature() for row in rows])
        drawn = sample(logits, temperatures=hot, uniform=uniform)
        for number, (row, token, logprob) in enumerate(
            zip(rows, drawn.tokens.tolist(), drawn.logprobs.tolist(), strict=True)
        ):
            if logprob != logprob:
                row.end(StopReason.REFUSED, "the model's logits are not numbers")
                continue
            if row.matcher is not None and not row.matcher.take(token):
                allowed = row.matcher.allowed()
                if not bool(allowed.any()):
                    row.end(StopReason.REFUSED, f"the grammar of {row.decision} allows nothing more")
                    continue
                masked = logits[number : number + 1].float().masked_fill(~allowed, float("-inf"))
                again = sample(masked, temperatures=hot[number : number + 1], uniform=uniform[number : number + 1])
                token = int(again.tokens[0])
                logprob = float(logits[number].float().log_softmax(-1)[token])
                row.matcher.take(token)
            row.add([token], written=True, logprob=logprob)
            self._close(row, token)

    def _close(self, row: _Row, token: int) -> None:
        """End the turn when it has ended or its tokens have run out."""
        if row.matcher is None:
            if token == self._chat.end_id:
                row.end()
            elif row.chosen() >= row.request.max_answer_tokens:
                row.end(StopReason.TRUNCATED)
            return
        rest = row.matcher.closing()
        if rest is not None:
            row.add(rest, written=False)
            row.end()
        elif row.chosen() >= row.request.max_argument_tokens:
            row.end(StopReason.TRUNCATED)

    def _action(self, row: _Row) -> Action:
        text = self._chat.decode(row.tokens) if row.stop is not StopReason.REFUSED else row.reason
        message = Message("assistant", text, tuple(row.tokens))
        stop, call = row.stop, None
        if row.decision != ANSWER and stop is None:
            parsed = parse_turn(text, row.request.specs)
            call, stop = parsed.call, None if parsed.call is not None else StopReason.MALFORMED
        return Action(
            message=message,
            decision=row.decision,
            written=tuple(row.written),
            logprobs=tuple(row.logprobs),
            call=call,
            stop=stop,
            decision_probs=row.probs,
        )


def _one_turn(request: GenerateRequest) -> Talk[Action]:
    action: Action = yield request
    return action


def _begins(context: Sequence[int], row: Sequence[int]) -> bool:
    """Whether all of `row` begins `context`, and is worth keeping."""
    return 0 < len(row) <= len(context) and list(context[: len(row)]) == list(row)


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    length = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        length += 1
    return length


def _by_size(
    work: Sequence[tuple[int, T, tuple[int, ...], int]], limit: int
) -> list[list[tuple[int, T, tuple[int, ...], int]]]:
    """Batches of similar length whose padded size stays under `limit` tokens."""
    batches: list[list[tuple[int, T, tuple[int, ...], int]]] = []
    for item in sorted(work, key=lambda item: (len(item[2]), item[0])):
        if not batches or (len(batches[-1]) + 1) * len(item[2]) > limit:
            batches.append([])
        batches[-1].append(item)
    return batches
