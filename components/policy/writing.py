"""Writes turns in the rows of a session: reads contexts, decides, opens calls, draws one token a step for every turn.

Takes turns that have a row; changes them. Rows keep what they held, because contexts often come back, alone or longer,
and a context that several turns share is read once. Which turns go on side by side is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from components.policy.chat import Chat
from components.policy.constrained import ArgumentGrammars
from components.policy.decision import opening_logprobs, probabilities
from components.policy.decision_head import Roots
from components.policy.kept import KeptPrefixes
from components.policy.prefix_tree import common_prefix
from components.policy.rules import NOT_NUMBERS, Rules
from components.policy.sampling import sample
from components.policy.session import Session
from components.policy.turn import Key, Turn
from components.schema.tool import ToolSpec
from components.schema.trajectory import ANSWER, Action, StopReason

T = TypeVar("T")


class Writer:
    """Writes under one set of weights."""

    def __init__(
        self,
        chat: Chat,
        grammars: ArgumentGrammars,
        new_session: Callable[[int], Session],
        *,
        prefill_tokens: int,
        kept_tokens: int,
        roots: Roots,
    ) -> None:
        """`new_session(rows)` opens empty rows under the current weights; `roots` has the last word on decisions at
        roots."""
        self._chat, self._rules, self._new_session = chat, Rules(chat, grammars), new_session
        self._roots = roots
        self._prefill_tokens = prefill_tokens
        self._session: Session | None = None
        self._kept_tokens, self._kept = kept_tokens, KeptPrefixes(kept_tokens)
        self._place_of: dict[tuple[int, ...], int] = {}
        self._context_at: dict[int, tuple[int, ...]] = {}
        """The context read last in each row, and the way back; what the row still holds is checked before use."""

    def forget(self) -> None:
        """Drop what the rows hold; required whenever the weights changed."""
        self._session = None
        self._kept = KeptPrefixes(self._kept_tokens)
        self._place_of, self._context_at = {}, {}

    def place_of(self, context: tuple[int, ...]) -> int:
        """The row in which a context was read last; -1 when none is known."""
        return self._place_of.get(context, -1)

    def move(self, targets: Sequence[int], sources: Sequence[int]) -> None:
        """Row `targets[i]` becomes a copy of row `sources[i]`."""
        self._open_session().assign(targets, sources)

    def _open_session(self, rows: int = 1) -> Session:
        if self._session is None:
            self._session = self._new_session(rows)
        self._session.widen(rows)
        return self._session

    # Reading and deciding ---------------------------------------------------------------------------------------------

    def read(self, turns: Sequence[Turn]) -> None:
        """Read every context (with the calls' shared opening where a decision is due); decide.

        Of several turns with one context, the first reads and the others copy.
        """
        if not turns:
            return
        session = self._open_session(max(turn.place for turn in turns) + 1)
        leaders: dict[Key, Turn] = {}
        for turn in turns:
            leaders.setdefault(turn.key(), turn)
        undecided = {turn.key() for turn in turns if turn.undecided()}
        self._reuse(session, list(leaders.values()))
        probs = self._read_leaders(session, leaders, undecided)
        followers = [turn for turn in turns if leaders[turn.key()] is not turn]
        session.assign([turn.place for turn in followers], [leaders[turn.key()].place for turn in followers])
        for turn in turns:
            turn.hidden, turn.probs = leaders[turn.key()].hidden, probs.get(turn.key())
            turn.drafting = self._begins_with_draft(turn)
            if not turn.drafting:
                self._rules.decide(turn)
            if turn.decision == ANSWER:
                session.rewind(turn.place, len(turn.request.context_ids))

    def _begins_with_draft(self, turn: Turn) -> bool:
        request, own = turn.request, turn.probs
        asked = turn.undecided() and request.at_root and not request.must_call
        return asked and own is not None and _are_numbers(own) and self._roots.wants_draft(own)

    def _read_leaders(
        self, session: Session, leaders: dict[Key, Turn], undecided: set[Key]
    ) -> dict[Key, dict[str, float]]:
        """What is missing of every context is read; P over the decisions of those that are undecided."""
        work = []
        for key, turn in leaders.items():
            extra = self._chat.call_opening if key in undecided else ()
            missing = turn.request.context_ids[len(session.rows[turn.place]) :]
            work.append((turn.place, turn, missing + extra, len(extra) + 1))
        probs: dict[Key, dict[str, float]] = {}
        for batch in _by_size(work, self._prefill_tokens):
            kept = session.append([b[0] for b in batch], [b[2] for b in batch], [b[3] for b in batch])
            for (place, turn, _, _), states in zip(batch, kept, strict=True):
                turn.hidden = states[0]
                self._remember(turn.request.context_ids, place)
                self._keep(turn, session, turn.request.context_ids)
                if turn.key() in undecided:
                    own = self._probabilities(session, place, turn.request.specs, states)
                    probs[turn.key()] = self._roots.on_reading(states[0], own) if turn.request.at_root else own
        return probs

    def _remember(self, context: tuple[int, ...], place: int) -> None:
        before = self._context_at.get(place)
        if before is not None and self._place_of.get(before) == place:
            del self._place_of[before]
        self._context_at[place] = context
        self._place_of[context] = place

    def _keep(self, turn: Turn, session: Session, ids: Sequence[int]) -> None:
        """What the turn's row computed for `ids`, with which it begins, is kept if the request wants it."""
        if turn.request.keep:
            self._kept.add(ids, lambda start, stop: session.copy_out(turn.place, start, stop))

    def _reuse(self, session: Session, turns: Sequence[Turn]) -> None:
        """Each place holds as much of its turn's context as its own row, the row where it was read last, or what was
        kept of other rows holds.

        The last token is read anew: its hidden state is needed.
        """
        sources, lengths = [], []
        for turn in turns:
            context = turn.request.context_ids
            known = self.place_of(context)
            held = {place: common_prefix(context, session.rows[place]) for place in (turn.place, known) if place >= 0}
            source = max(held, key=lambda place: held[place])
            sources.append(source)
            lengths.append(min(held[source], len(context) - 1))
        session.assign([turn.place for turn in turns], sources)
        for turn, length in zip(turns, lengths, strict=True):
            session.rewind(turn.place, length)
            if turn.request.keep:
                self._put_back(session, turn)

    def _put_back(self, session: Session, turn: Turn) -> None:
        context, place = turn.request.context_ids[:-1], turn.place
        length, computed = self._kept.longest(context, beyond=len(session.rows[place]))
        if computed is not None:
            session.rewind(place, 0)
            session.copy_in(place, context[:length], computed)

    def _probabilities(
        self, session: Session, place: int, specs: Sequence[ToolSpec], states: Tensor
    ) -> dict[str, float]:
        names = {spec.name: self._chat.encode(spec.name) for spec in specs}
        shared, first = opening_logprobs(session.logits(states), self._chat.call_opening, names)
        logprobs = {name: float(shared + first[k]) for k, name in enumerate(names)}
        for name, ids in names.items():
            if len(ids) > 1:
                logprobs[name] += _rest_of_name(session, place, ids)
        return probabilities(logprobs)

    # Writing ----------------------------------------------------------------------------------------------------------

    def begin(self, turns: Sequence[Turn]) -> None:
        """Write the opening of every chosen call."""
        session, work = self._open_session(), []
        for turn in turns:
            if turn.decision == ANSWER or not self._rules.open_call(turn):
                continue
            held = len(session.rows[turn.place]) - len(turn.request.context_ids)
            work.append((turn.place, turn, tuple(turn.tokens[held:]), 1))
        for batch in _by_size(work, self._prefill_tokens):
            kept = session.append([b[0] for b in batch], [b[2] for b in batch], [1] * len(batch))
            for (_, turn, _, _), states in zip(batch, kept, strict=True):
                turn.hidden = states[-1]

    def step(self, turns: Sequence[Turn]) -> None:
        """One token for every turn; some are over afterwards, and drafts that are over are answers or become calls."""
        session = self._open_session()
        for turn in turns:
            if turn.request.cancelled is not None and turn.request.cancelled.is_set():
                turn.end(StopReason.CANCELLED)
        drawing = [turn for turn in turns if not turn.done]
        for turn in drawing:
            if turn.drafting and turn.hidden is not None and self._roots.layer is None:
                turn.states.append(turn.hidden)
        self._draw(session, drawing)
        going = [turn for turn in turns if not turn.done]
        if going:
            kept = session.append([turn.place for turn in going], [[t.tokens[-1]] for t in going], [1] * len(going))
            for turn, states in zip(going, kept, strict=True):
                turn.hidden = states[-1]
        self._settle(session, [turn for turn in turns if turn.drafting and turn.done])

    def _settle(self, session: Session, turns: Sequence[Turn]) -> None:
        """Decide where a draft is over: it is kept as the answer, or left for a call, of which nothing is written."""
        whole = [turn for turn in turns if turn.stop not in (StopReason.REFUSED, StopReason.CANCELLED)]
        for turn, states in zip(whole, self._states_of(session, whole), strict=True):
            assert turn.probs is not None, "a draft is written where a decision is due"
            turn.probs = self._roots.on_draft(states, turn.probs)
            self._rules.decide(turn)
        for turn in turns:
            turn.states.clear()
            if turn.decision == ANSWER:
                turn.keep_draft()
            else:
                turn.leave_draft()
                session.rewind(turn.place, len(turn.request.context_ids))
        self.begin([turn for turn in turns if not turn.done])

    def _states_of(self, session: Session, turns: Sequence[Turn]) -> list[Tensor]:
        """[tokens, hidden] that the tokens of each draft were drawn from, after the block that the head reads."""
        layer = self._roots.layer
        if layer is None:
            return [torch.stack(turn.states) for turn in turns]
        starts = [len(turn.request.context_ids) - 1 for turn in turns]
        return session.reread([turn.place for turn in turns], starts, layer) if turns else []

    def _draw(self, session: Session, turns: Sequence[Turn]) -> None:
        if not turns:
            return
        logits = session.logits(torch.stack([turn.hidden for turn in turns if turn.hidden is not None]))
        for number, turn in enumerate(turns):
            for token in self._rules.struck(turn):
                logits[number, token] = float("-inf")
        uniform = torch.tensor([turn.uniform[turn.chosen() % 255] for turn in turns], device=logits.device)
        hot = torch.tensor([turn.temperature() for turn in turns], device=logits.device)
        drawn = sample(logits, temperatures=hot, uniform=uniform)
        for number, (turn, token, logprob) in enumerate(
            zip(turns, drawn.tokens.tolist(), drawn.logprobs.tolist(), strict=True)
        ):
            one = slice(number, number + 1)
            if logprob != logprob:
                turn.refuse(NOT_NUMBERS)
            elif not self._rules.take(turn, token, logprob):
                self._draw_allowed(turn, logits[one], hot[one], uniform[one])

    def _draw_allowed(self, turn: Turn, logits: Tensor, hot: Tensor, uniform: Tensor) -> None:
        """Draw again, among the tokens that the call's grammar allows. logits [1, vocabulary]"""
        assert turn.matcher is not None
        allowed = turn.matcher.allowed().to(logits.device)
        if not bool(allowed.any()):
            turn.refuse(f"the grammar of {turn.decision} allows nothing more")
            return
        masked = logits.float().masked_fill(~allowed, float("-inf"))
        token = int(sample(masked, temperatures=hot, uniform=uniform).tokens[0])
        if not self._rules.take(turn, token, float(logits[0].float().log_softmax(-1)[token])):
            turn.refuse(NOT_NUMBERS)  # every allowed token has the logit -inf

    def action(self, turn: Turn) -> Action:
        """What a turn that is over amounts to."""
        if self._session is not None and turn.place >= 0:
            self._keep(turn, self._session, self._session.rows[turn.place])
        return self._rules.action(turn)


def _are_numbers(probs: dict[str, float]) -> bool:
    return all(p == p for p in probs.values())


def _rest_of_name(session: Session, place: int, ids: Sequence[int]) -> float:
    """log P of a tool name's tokens after the first; the row holds the call's opening."""
    length = len(session.rows[place])
    (states,) = session.append([place], [ids[:-1]], [len(ids) - 1])
    session.rewind(place, length)
    logprobs = session.logits(states).float().log_softmax(-1)
    return float(logprobs.gather(1, torch.tensor(list(ids[1:]), device=logprobs.device)[:, None]).sum())


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
