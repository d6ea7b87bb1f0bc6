"""The verb `generate`: decide, then write the arguments or the answer. Takes requests; gives actions with their tokens.

A batch runs in four moves: open rows (contexts seen before keep their key-value cache), decide (one pass over the
shared opening), begin the chosen turn, decode all rows in lockstep. It does not run tools.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

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
_Key = tuple[tuple[int, ...], tuple[str, ...]]
"""Context and names of the tools shown: requests with the same key are read once."""


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
    max_answer_tokens: int = 32
    max_argument_tokens: int = 48
    max_context_tokens: int = 640


@dataclass(slots=True)
class _Row:
    """One request while it is being written."""

    request: GenerateRequest
    uniform: list[float]
    decision: str = ANSWER
    probs: dict[str, float] | None = None
    matcher: ArgumentMatcher | None = None
    tokens: list[int] = field(default_factory=list)
    written: list[bool] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    hidden: Tensor | None = None
    """[hidden] at the last token seen; what the next token is drawn from."""
    done: bool = False
    truncated: bool = False

    def add(self, tokens: Sequence[int], *, written: bool, logprob: float = 0.0) -> None:
        self.tokens.extend(tokens)
        self.written.extend([written] * len(tokens))
        self.logprobs.extend([logprob] * len(tokens))

    def temperature(self) -> float:
        return self.request.answer_temperature if self.decision == ANSWER else self.request.temperature

    def chosen(self) -> int:
        """Tokens the policy chose so far."""
        return sum(self.written)


class Generator:
    """Generates for one set of weights; keeps the rows of its last batch: contexts often come back longer."""

    def __init__(
        self, chat: Chat, grammars: ArgumentGrammars, new_session: Callable[[int], Session], *, prefill_tokens: int
    ) -> None:
        """`new_session(rows)` opens empty rows under the current weights."""
        self._chat, self._grammars, self._new_session = chat, grammars, new_session
        self._prefill_tokens = prefill_tokens
        self._session: Session | None = None

    def forget(self) -> None:
        """Drop cached rows; required whenever the weights changed."""
        self._session = None

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Action]:
        """One action a request, in order. A request that does not fit its context gives a TRUNCATED action."""
        rows = [_Row(request, list(uniforms(request.seed, 256))) for request in requests]
        live = [row for row in rows if self._fits(row)]
        if live:
            session = self._open_and_decide(live)
            self._begin(session, live)
            self._decode(session, live)
        return [self._action(row) for row in rows]

    def decide(self, requests: Sequence[GenerateRequest]) -> list[dict[str, float]]:
        """P over {answer, tools} of each request's state; contexts read here are not read again by `generate`."""
        rows = [_Row(replace(request, decision=None), []) for request in requests]
        session = self._open_and_decide(rows, choosing=False)
        for number, row in enumerate(rows):
            session.rewind(number, len(row.request.context_ids))
        return [row.probs if row.probs is not None else {ANSWER: 1.0} for row in rows]

    def _fits(self, row: _Row) -> bool:
        request = row.request
        room = max(request.max_answer_tokens, request.max_argument_tokens + 32)
        row.truncated = row.done = len(request.context_ids) + room > request.max_context_tokens
        return not row.done

    # Opening and deciding ---------------------------------------------------------------------------------------------

    def _open_and_decide(self, rows: Sequence[_Row], *, choosing: bool = True) -> Session:
        """Rows of the session aligned with `rows`; every row has its decision and the hidden state to go on from."""
        keys = [(row.request.context_ids, tuple(spec.name for spec in row.request.specs)) for row in rows]
        specs = {key: row.request.specs for key, row in zip(keys, rows, strict=True)}
        unique = list(specs)
        undecided = {
            key for key, row in zip(keys, rows, strict=True) if row.request.decision is None and row.request.specs
        }
        session = self._open([context for context, _ in unique])
        hidden, probs = self._read(session, specs, undecided)
        for key, row in zip(keys, rows, strict=True):
            row.probs = probs.get(key)
            row.decision = self._decide(row) if choosing else ANSWER
        where = {key: number for number, key in enumerate(unique)}
        session.select([where[key] for key in keys])
        for number, (key, row) in enumerate(zip(keys, rows, strict=True)):
            if row.decision == ANSWER or key not in undecided:
                session.rewind(number, len(row.request.context_ids))
            row.hidden = hidden[key]
        return session

    def _decide(self, row: _Row) -> str:
        if row.request.decision is not None:
            return row.request.decision
        if row.probs is None:
            return ANSWER
        return choose(row.probs, temperature=row.request.decision_temperature, uniform=lambda: row.uniform[-1])

    def _open(self, contexts: Sequence[tuple[int, ...]]) -> Session:
        """A session with one row a context, holding the longest prefix of it that the last batch left behind."""
        old = self._session
        if old is None:
            self._session = session = self._new_session(len(contexts))
            return session
        known = {tuple(row): number for number, row in enumerate(old.rows)}
        lengths = sorted({len(row) for row in known if row}, reverse=True)
        sources = [_longest_prefix(context, known, lengths) for context in contexts]
        old.select([source if source is not None else 0 for source, _ in sources])
        for number, (source, length) in enumerate(sources):
            old.rewind(number, length if source is not None else 0)
        return old

    def _read(
        self, session: Session, specs: Mapping[_Key, tuple[ToolSpec, ...]], undecided: set[_Key]
    ) -> tuple[dict[_Key, Tensor], dict[_Key, dict[str, float]]]:
        """Read every context (with the calls' shared opening where a decision is due)."""
        opening = self._chat.call_opening
        hidden: dict[_Key, Tensor] = {}
        probs: dict[_Key, dict[str, float]] = {}
        work = []
        for number, key in enumerate(specs):
            suffix = key[0][len(session.rows[number]) :]
            extra = opening if key in undecided else ()
            work.append((number, key, suffix + extra, len(extra) + 1))
        for batch in _by_size(work, self._prefill_tokens):
            kept = session.append([b[0] for b in batch], [b[2] for b in batch], [b[3] for b in batch])
            for (number, key, _, _), states in zip(batch, kept, strict=True):
                hidden[key] = states[0]
                if key in undecided:
                    probs[key] = self._probabilities(session, number, specs[key], states)
        return hidden, probs

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

    def _begin(self, session: Session, rows: Sequence[_Row]) -> None:
        """Write the opening of every chosen call."""
        work = []
        for number, row in enumerate(rows):
            if row.decision == ANSWER:
                continue
            spec = next(spec for spec in row.request.specs if spec.name == row.decision)
            row.matcher = self._grammars.matcher(spec)
            row.add(self._chat.call_opening + self._chat.encode(spec.name) + row.matcher.opening(), written=False)
            missing = len(row.tokens) - (len(session.rows[number]) - len(row.request.context_ids))
            work.append((number, row, tuple(row.tokens[-missing:]), 1))
        for batch in _by_size(work, self._prefill_tokens):
            kept = session.append([b[0] for b in batch], [b[2] for b in batch], [1] * len(batch))
            for (_, row, _, _), states in zip(batch, kept, strict=True):
                row.hidden = states[-1]

    def _decode(self, session: Session, rows: list[_Row]) -> None:
        """One token for every unfinished row until none is left."""
        order = list(range(len(rows)))
        while True:
            active = [slot for slot, number in enumerate(order) if not rows[number].done]
            if not active:
                return
            if len(active) <= 0.7 * (active[-1] + 1):
                finished = [slot for slot in range(len(order)) if rows[order[slot]].done]
                session.select(active + finished)
                order = [order[slot] for slot in active + finished]
                active = list(range(len(active)))
            self._draw(session, [rows[order[slot]] for slot in active])
            going = [slot for slot in active if not rows[order[slot]].done]
            if going:
                kept = session.append(going, [[rows[order[slot]].tokens[-1]] for slot in going], [1] * len(going))
                for slot, states in zip(going, kept, strict=True):
                    rows[order[slot]].hidden = states[-1]

    def _draw(self, session: Session, rows: Sequence[_Row]) -> None:
        logits = session.logits(torch.stack([row.hidden for row in rows if row.hidden is not None]))
        for number, row in enumerate(rows):
            if row.decision == ANSWER and row.request.specs and not row.tokens:
                # The decision was to answer: the first token of an answer is drawn given that no call opens.
                logits[number, self._chat.call_opening[0]] = float("-inf")
        uniform = torch.tensor([row.uniform[row.chosen() % 255] for row in rows], dtype=torch.float32)
        hot = torch.tensor([row.temperature() for row in rows])
        drawn = sample(logits, temperatures=hot, uniform=uniform)
        for number, (row, token, logprob) in enumerate(
            zip(rows, drawn.tokens.tolist(), drawn.logprobs.tolist(), strict=True)
        ):
            if row.matcher is not None and not row.matcher.take(token):
                masked = logits[number : number + 1].float().masked_fill(~row.matcher.allowed(), float("-inf"))
                again = sample(masked, temperatures=hot[number : number + 1], uniform=uniform[number : number + 1])
                token = int(again.tokens[0])
                logprob = float(logits[number].float().log_softmax(-1)[token])
                row.matcher.take(token)
            row.add([token], written=True, logprob=logprob)
            self._close(row, token)

    def _close(self, row: _Row, token: int) -> None:
        """Mark the row done when its turn has ended or its tokens have run out."""
        if row.matcher is None:
            row.done = token == self._chat.end_id
            row.truncated = not row.done and row.chosen() >= row.request.max_answer_tokens
        else:
            rest = row.matcher.closing()
            if rest is not None:
                row.add(rest, written=False)
                row.done = True
            row.truncated = not row.done and row.chosen() >= row.request.max_argument_tokens
        row.done = row.done or row.truncated

    def _action(self, row: _Row) -> Action:
        text = self._chat.decode(row.tokens)
        message = Message("assistant", text, tuple(row.tokens))
        stop = StopReason.TRUNCATED if row.truncated else None
        call = None
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


def _longest_prefix(
    context: tuple[int, ...], known: dict[tuple[int, ...], int], lengths: Sequence[int]
) -> tuple[int | None, int]:
    """(row, usable length) of the longest known row that begins `context`, leaving at least one token to read."""
    for length in lengths:
        if length <= len(context) and context[:length] in known:
            return known[context[:length]], min(length, len(context) - 1)
    return None, 0


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
