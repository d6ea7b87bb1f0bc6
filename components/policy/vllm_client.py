"""A policy whose model runs in a vLLM server: the verbs of `Backend` over HTTP. Needs no vLLM package and no weights.

Takes a tokenizer and a server's address; gives actions and log-probabilities. Decisions are scored exactly as prompt
log-probabilities of the openings. Turns are drafted: the server continues freely, and a token that the turn may not go
on with (no call may open an answer, arguments obey their grammar) is drawn again among those that it may. Taking a
draw from p where it is allowed, and drawing anew from p given that it is allowed where not, is drawing from the latter.
So the grammar, the forced tokens and the record are those of the torch engine, whatever grammars the server knows.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from components.policy.chat import Chat
from components.policy.constrained import ArgumentGrammars
from components.policy.decision import LEAST, probabilities
from components.policy.floor import Talk
from components.policy.rules import NOT_NUMBERS, Rules
from components.policy.turn import GenerateRequest, ScoreRequest, Turn, check_scorable, open_turn
from components.policy.vllm_server import Completion, VllmServer
from components.schema.identity import child_seed
from components.schema.trajectory import ANSWER, Action, StopReason

R = TypeVar("R")

AFTER_A_REJECTION = 8
"""Most tokens of a draft once one was rejected: what follows a rejected token is thrown away."""
STRUCK = -100.0
"""Bias of the logits that are struck out; the most that the protocol allows."""
PATIENCE = 0.05
"""Seconds between looks at whether a turn in flight is still wanted."""


class _Cancelled(Exception):  # noqa: N818 - not an error
    """Nobody wants the turn any more."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A server, and the request that is asked of it."""

    server: VllmServer
    what: str
    """Its name in errors."""

    async def complete(self, prompt: Sequence[int], cancelled: threading.Event | None, **parameters: Any) -> Completion:
        (one,) = await _unless(cancelled, self.server.complete([prompt], what=self.what, **parameters))
        return one

    async def score(
        self, sequences: Sequence[Sequence[int]], cancelled: threading.Event | None = None
    ) -> list[tuple[float, ...]]:
        return await _unless(cancelled, self.server.score(sequences, what=self.what))


class VllmClient:
    """The verbs. They block until all is done, and may not be called from inside an event loop."""

    def __init__(
        self,
        tokenizer: Any,
        *,
        url: str,
        model: str,
        vocabulary: int,
        capacity: int,
        slots: int,
        policy_id: str,
        timeout: float = 300.0,
    ) -> None:
        """`model`: its name at the server; `capacity`: most tokens it can read; `slots`: most turns in flight."""
        self.policy_id, self.chat = policy_id, Chat(tokenizer)
        self._url, self._model, self._slots, self._timeout = url, model, slots, timeout
        self._vocabulary, self.capacity = vocabulary, capacity
        self.grammars = ArgumentGrammars(self.chat, vocabulary=vocabulary)
        self._rules = Rules(self.chat, self.grammars)

    def forget(self) -> None:
        """Nothing: what a server remembers is its own."""

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Action]:
        """One action a request, in order; `slots` side by side."""
        return self._all(requests, self._write)

    def converse(self, talks: Sequence[Talk[R]]) -> list[R]:
        """`generate` for conversations of several turns: while the tools of one work, the others go on."""
        return self._all(talks, self._play)

    def decide(self, requests: Sequence[GenerateRequest]) -> list[dict[str, float]]:
        """P over {answer, tool 1, ..., tool K} at each request's state, exactly (DESIGN 4)."""
        return self._all(requests, self._decide)

    def score(self, requests: Sequence[ScoreRequest]) -> list[tuple[float, ...]]:
        """Natural log-probabilities of `ids[start:]`, one tuple a request, in order.

        Raises:
            ValueError: a request cannot be scored; the message names it. None is scored then.
        """
        # The server wants room for one token more than it is asked to score.
        check_scorable(requests, vocabulary=self._vocabulary, capacity=self.capacity - 2)

        async def one(asked: _Asked, request: ScoreRequest) -> tuple[float, ...]:
            (logprobs,) = await asked.score([request.ids])
            return logprobs[request.start - 1 :]

        return self._all(requests, one)

    def _all(self, items: Sequence[Any], work: Callable[[_Asked, Any], Coroutine[Any, Any, R]]) -> list[R]:
        """`work` on every item, `slots` of them side by side; the first failure ends the others."""

        async def together() -> list[R]:
            room = asyncio.Semaphore(self._slots)
            server = VllmServer(self._url, self._model, connections=self._slots, timeout=self._timeout)

            async def one(number: int, item: Any) -> R:
                async with room:
                    return await work(_Asked(server, f"request {number}"), item)

            async with server:
                tasks = [asyncio.ensure_future(one(number, item)) for number, item in enumerate(items)]
                try:
                    return await asyncio.gather(*tasks)
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)

        return asyncio.run(together()) if items else []

    async def _play(self, asked: _Asked, talk: Talk[R]) -> R:
        """A conversation to its end."""
        said: Any = None
        while True:
            try:
                wanted = talk.send(said)
            except StopIteration as end:
                result: R = end.value
                return result
            if isinstance(wanted, Future):
                said = await asyncio.wrap_future(wanted)
            else:
                said = await self._write(asked, wanted)

    # Deciding ---------------------------------------------------------------------------------------------------------

    def _open(self, request: GenerateRequest) -> Turn:
        return open_turn(request, vocabulary=self._vocabulary, capacity=self.capacity)

    async def _decide(self, asked: _Asked, request: GenerateRequest) -> dict[str, float]:
        turn = self._open(replace(request, decision=None, cancelled=None))
        if not turn.done and turn.undecided():
            await self._weigh(asked, turn)
        return turn.probs if turn.probs is not None else {ANSWER: 1.0}

    async def _weigh(self, asked: _Asked, turn: Turn) -> float:
        """Find the probabilities of the turn's decisions; that of the first token of any call comes back."""
        context, names = turn.request.context_ids, [spec.name for spec in turn.request.specs]
        openings = [context + self.chat.call_opening + self.chat.encode(name) for name in names]
        found = [one[len(context) - 1 :] for one in await asked.score(openings, turn.request.cancelled)]
        turn.probs = probabilities({name: sum(logprobs) for name, logprobs in zip(names, found, strict=True)})
        return math.exp(found[0][0])

    # Writing ----------------------------------------------------------------------------------------------------------

    async def _write(self, asked: _Asked, request: GenerateRequest) -> Action:
        turn, calls = self._open(request), None
        try:
            if not turn.done and turn.undecided():
                calls = await self._weigh(asked, turn)
            if not turn.done:
                self._rules.decide(turn)
            if not turn.done and turn.decision != ANSWER:
                self._rules.open_call(turn)
            await self._draft(asked, turn)
        except _Cancelled:
            turn.end(StopReason.CANCELLED)
        await self._condition(asked, turn, calls)
        return self._rules.action(turn)

    async def _draft(self, asked: _Asked, turn: Turn) -> None:
        """Have the server continue, and keep what the turn may go on with, until it is over."""
        most = turn.left()
        while not turn.done:
            draft = await self._ask(asked, turn, "draft", max_tokens=min(most, turn.left()))
            taken = self._take(turn, draft)
            if not turn.done and taken < len(draft.tokens):
                most = AFTER_A_REJECTION
                await self._redraw(asked, turn)

    def _take(self, turn: Turn, draft: Completion) -> int:
        """Take tokens until the turn is over or may not go on with one; how many were taken."""
        for number, (token, logprob) in enumerate(zip(draft.tokens, draft.logprobs, strict=True)):
            if logprob != logprob:
                turn.refuse(NOT_NUMBERS)
            elif not self._rules.take(turn, token, logprob):
                return number
            if turn.done:
                return number + 1
        return len(draft.tokens)

    async def _redraw(self, asked: _Asked, turn: Turn) -> None:
        """One token among those that the turn may go on with."""
        if turn.matcher is None:
            bias = {str(token): STRUCK for token in self._rules.struck(turn)}
            drawn = await self._ask(asked, turn, "redraw", max_tokens=1, logit_bias=bias)
        else:
            allowed = turn.matcher.allowed().nonzero().flatten().tolist()
            if not allowed:
                turn.refuse(f"the grammar of {turn.decision} allows nothing more")
                return
            drawn = await self._ask(asked, turn, "redraw", max_tokens=1, allowed_token_ids=allowed)
        if not self._take(turn, drawn):
            turn.refuse(NOT_NUMBERS)  # the server drew what was struck out: nothing else had a number

    async def _ask(self, asked: _Asked, turn: Turn, why: str, **parameters: Any) -> Completion:
        return await asked.complete(
            turn.request.context_ids + tuple(turn.tokens),
            turn.request.cancelled,
            seed=child_seed(turn.request.seed, why, len(turn.tokens)),
            temperature=turn.temperature(),
            stop_token_ids=[self.chat.end_id],
            **parameters,
        )

    async def _condition(self, asked: _Asked, turn: Turn, calls: float | None) -> None:
        """Condition an answer's log-probabilities on what was struck out: log p - log(1 - P(struck)).

        `calls`: P of the first token of any call, if it is known from the decision.
        """
        struck = self._struck_in(turn)
        if calls is not None and struck[:1] == [(0, self.chat.call_opening[0])]:
            shares, struck = [(0, calls)], struck[1:]
        else:
            shares = []
        if struck:
            context = turn.request.context_ids
            sequences = [(*context, *turn.tokens[:place], token) for place, token in struck]
            scores = await asked.score(sequences)
            shares += [(place, math.exp(one[-1])) for (place, _), one in zip(struck, scores, strict=True)]
        for place in {place for place, _ in shares}:
            gone = sum(share for at, share in shares if at == place)
            turn.logprobs[place] -= math.log(max(1.0 - gone, LEAST))

    def _struck_in(self, turn: Turn) -> list[tuple[int, int]]:
        """Place and token of everything that was struck out while an answer was written."""
        before = Turn(turn.request, turn.uniform, decision=turn.decision)
        struck = []
        for place, token in enumerate(turn.tokens):
            struck += [(place, other) for other in self._rules.struck(before)]
            before.tokens.append(token)
        return struck


async def _unless(cancelled: threading.Event | None, work: Coroutine[Any, Any, R]) -> R:
    """What the work gives; it is dropped, and `_Cancelled` raised, as soon as nobody wants it any more."""
    if cancelled is None:
        return await work
    task = asyncio.ensure_future(work)
    try:
        while not cancelled.is_set():
            done, _ = await asyncio.wait({task}, timeout=PATIENCE)
            if done:
                return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    raise _Cancelled
