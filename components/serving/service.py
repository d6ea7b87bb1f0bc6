"""A request from its arrival to its record: let in, routed to a version, played by that version's engine, written down.

Takes validated requests; gives answers, whole or while they are written. Knows nothing of HTTP. Clocks, ids and whoever
can load a version are passed in.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from components.policy.floor import Talk
from components.records.responses import Channel, ServedResponse, append_response
from components.schema.cost import NO_COST, Cost
from components.schema.identity import stable_hash
from components.schema.trajectory import StopReason
from components.serving.admission import Admission
from components.serving.asking import Asked, asked_of
from components.serving.canary import CanaryWatch, Observed, in_canary
from components.serving.conversation import Answer, TakeTurn, freely, play
from components.serving.errors import Refused, bad
from components.serving.metrics import Metrics
from components.serving.replies import Envelope, finish_of
from components.serving.scrub import Scrub
from components.serving.settings import ServeSettings
from components.serving.shadow import Shadow
from components.serving.stock import Served, Stock
from components.serving.wire import ChatRequest
from components.serving.words import Words
from components.tools.settings import NO_COMPOSITE, CompositeSettings


class NoSuchVersion(LookupError):  # noqa: N818 - says what is missing
    """The registry has no such version."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the service needs of the world."""

    clock: Callable[[], float]
    """Seconds, never going back."""
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    """Letters and digits that nobody had before."""
    fetch: Callable[[str], Future[None]]
    """Have a version loaded; the future raises NoSuchVersion, or why it cannot be."""
    canary_stopped: Callable[[str, str], None]
    """Told version and reason when a canary was taken back."""
    log: Path
    """Folder of the records."""
    scrub: Scrub
    units: Callable[[Cost], float]
    fault: Callable[[str], None] = lambda text: None
    """Told of failures that no client is to be blamed for."""


@dataclass(slots=True)
class Running:
    """A request under way."""

    request: ChatRequest
    envelope: Envelope
    served: Served
    channel: Channel
    pair: tuple[str, str] | None
    """Champion and canary, while there is a canary and the request is one of theirs."""
    asked: Asked
    came: float
    at: datetime
    cancelled: threading.Event
    written: asyncio.Queue[Sequence[int] | None]
    """Tokens of the answer; None at the end."""
    future: Future[Answer] | None = None
    done: bool = field(default=False)


class Service:
    """The versions of one model, behind one door."""

    def __init__(
        self,
        name: str,
        stock: Stock,
        settings: ServeSettings,
        surroundings: Surroundings,
        *,
        composite: CompositeSettings = NO_COMPOSITE,
    ) -> None:
        """`name`: by which clients ask for the champion."""
        self.name, self.stock, self.settings, self.around = name, stock, settings, surroundings
        self.metrics = Metrics()
        limits = settings.limits
        self.admission = Admission(concurrent=limits.concurrent, waiting=limits.waiting)
        self._composite = composite
        self._watch = CanaryWatch(settings.canary)
        self._shadow = Shadow(
            surroundings.log / "shadow.jsonl", most=settings.shadow_concurrent, units=surroundings.units
        )

    def models(self) -> list[str]:
        """Names that can be asked for; a version that is not listed is loaded when it is asked for."""
        routes = self.stock.routes
        names = [self.name] if routes.champion else []
        names += [f"{self.name}@challenger"] if routes.challenger else []
        return [*names, *(f"{self.name}@{served.number}" for served in self.stock.held())]

    async def begin(self, request: ChatRequest, *, came: float) -> Running:
        """Let the request in and have a version begin to answer it; whoever began must end it by `whole` or `pieces`.

        Raises:
            Refused: it cannot be answered.
        """
        self.admission.enter()
        try:
            response_id = f"chatcmpl-{self.around.new_id()}"
            served, channel, pair = await self._lease(request, response_id)
            try:
                return await self._submit(request, response_id, served, channel, pair, came)
            except BaseException:
                self.stock.release(served)
                raise
        except BaseException:
            self.admission.leave(self.around.clock() - came)
            raise

    async def whole(self, running: Running) -> Answer:
        """The answer, when it is complete.

        Raises:
            Refused: there is none.
        """
        finish = "cancelled"
        answer: Answer | None = None
        try:
            answer = await self._result(running)
            finish = _finish(answer)
            _check(answer)
            return answer
        except Refused as refusal:
            finish = "timeout" if refusal.status == 504 else "error"
            raise
        finally:
            self._end(running, answer, finish)

    async def pieces(self, running: Running) -> AsyncGenerator[str | Answer, None]:
        """Pieces of the answer's text as they are written, and the answer at the end.

        Raises:
            Refused: there is none, or it breaks off.
        """
        finish = "cancelled"
        answer: Answer | None = None
        words = Words(running.served.backend.chat)
        try:
            deadline = running.came + self.settings.limits.seconds
            while (ids := await self._next(running, deadline)) is not None:
                if piece := words.more(ids):
                    yield piece
            answer = await self._result(running)
            finish = _finish(answer)
            _check(answer)
            if answer.text and (piece := words.rest(answer.text)):
                yield piece
            yield answer
        except Refused as refusal:
            finish = "timeout" if refusal.status == 504 else "error"
            raise
        finally:
            self._end(running, answer, finish)

    def leave(self, running: Running) -> None:
        """Nobody listens any more: what is not over by now is recorded as given up."""
        self._end(running, None, "cancelled")

    # Beginning --------------------------------------------------------------------------------------------------------

    async def _lease(self, request: ChatRequest, response_id: str) -> tuple[Served, Channel, tuple[str, str] | None]:
        number, channel, pair = self._route(request, response_id)
        served = self.stock.lease(number)
        if served is None:
            await self._have_loaded(number)
            served = self.stock.lease(number)
        if served is None:
            raise Refused(503, f"version {number} is being loaded", code="version_loading", retry_after=2.0)
        return served, channel, pair

    def _route(self, request: ChatRequest, response_id: str) -> tuple[str, Channel, tuple[str, str] | None]:
        routes = self.stock.routes
        base, _, which = request.model.partition("@")
        if base != self.name or (not which and request.model.endswith("@")):
            raise self._unknown(request.model)
        if which.isdecimal() and len(which) < 10:
            return str(int(which)), "version", None
        if which == "challenger":
            if routes.challenger is None:
                raise self._unknown(request.model)
            return routes.challenger, "challenger", None
        if which not in ("", "champion"):
            raise self._unknown(request.model)
        if routes.champion is None:
            raise Refused(503, f"{self.name} has no champion yet", code="no_champion", retry_after=5.0)
        canary = routes.canary if not which and routes.canary != routes.champion else None
        if canary is None or self.stock.get(canary) is None:
            return routes.champion, "champion", None
        pair = (routes.champion, canary)
        if in_canary(request.who or response_id, routes.canary_share, canary):
            return canary, "canary", pair
        return routes.champion, "champion", pair

    def _unknown(self, model: str) -> Refused:
        known = ", ".join(self.models()) or "none yet"
        return Refused(404, f"there is no model {model!r:.100} ({known})", code="model_not_found", param="model")

    async def _have_loaded(self, number: str) -> None:
        try:
            await asyncio.wait_for(
                asyncio.shield(asyncio.wrap_future(self.around.fetch(number))), self.settings.limits.seconds
            )
        except NoSuchVersion:
            raise self._unknown(f"{self.name}@{number}") from None
        except TimeoutError:
            raise Refused(503, f"version {number} is being loaded", code="version_loading", retry_after=5.0) from None
        except (ValueError, OSError, RuntimeError) as error:
            raise Refused(503, f"version {number} cannot be served: {error}", code="version_unservable") from None

    async def _submit(
        self,
        request: ChatRequest,
        response_id: str,
        served: Served,
        channel: Channel,
        pair: tuple[str, str] | None,
        came: float,
    ) -> Running:
        asked = await asyncio.to_thread(
            asked_of,
            request,
            served.backend,
            served.toolbox,
            composite=self._composite,
            limits=self.settings.limits,
            seed=int(stable_hash(response_id), 16) >> 1,
        )
        take_turn = self._way(served, asked)
        at = self.around.now()
        envelope = Envelope(
            response_id, int(at.timestamp()), f"{self.name}@{served.number}", f"{self.name}:{served.fingerprint}"
        )
        running = Running(request, envelope, served, channel, pair, asked, came, at, threading.Event(), asyncio.Queue())
        loop = asyncio.get_running_loop()

        def tell(ids: Sequence[int] | None) -> None:
            try:
                loop.call_soon_threadsafe(running.written.put_nowait, ids)
            except RuntimeError:  # the loop has ended, and nobody listens any more
                running.cancelled.set()

        hear = tell if request.stream and take_turn is freely else None
        talk = play(served.backend, served.toolbox, asked, take_turn=take_turn, hear=hear, cancelled=running.cancelled)
        running.future = served.engine.submit(talk)
        running.future.add_done_callback(lambda future: self._played(served, tell))
        return running

    def _played(self, served: Served, tell: Callable[[None], None]) -> None:
        self.stock.release(served)
        tell(None)

    def _way(self, served: Served, asked: Asked) -> TakeTurn:
        if asked.price is None:
            return freely
        if served.at_price is None:
            raise bad(
                f"version {served.number} cannot move its price: it was trained without heads that value actions "
                "(`form: q_learning` in section reinforce of params.yaml)",
                param="price",
                code="price_unsupported",
            )
        return served.at_price(asked.price)

    # Ending -----------------------------------------------------------------------------------------------------------

    async def _next(self, running: Running, deadline: float) -> Sequence[int] | None:
        try:
            return await asyncio.wait_for(running.written.get(), max(0.001, deadline - self.around.clock()))
        except TimeoutError:
            raise self._too_late(running) from None

    async def _result(self, running: Running) -> Answer:
        assert running.future is not None
        left = running.came + self.settings.limits.seconds - self.around.clock()
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(running.future)), max(0.001, left))
        except TimeoutError:
            if running.future.done():
                raise Refused(500, "the answer failed", code="server_error") from None
            raise self._too_late(running) from None
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - a bug must reach the log, and the client in one form
            self.around.fault(f"{running.envelope.response_id}: {type(error).__name__}: {error}")
            raise Refused(500, "the answer failed; it was recorded", code="server_error") from None

    def _too_late(self, running: Running) -> Refused:
        running.cancelled.set()
        return Refused(504, f"no answer within {self.settings.limits.seconds:g} s", code="timeout")

    def _end(self, running: Running, answer: Answer | None, finish: str) -> None:
        """Record what became of a request, once; whoever left has it cancelled."""
        if running.done:
            return
        running.done = True
        running.cancelled.set()
        seconds = self.around.clock() - running.came
        self.admission.leave(seconds)
        response = self._record(running, answer, finish, seconds)
        append_response(self.around.log, response)
        self.metrics.answered(response)
        for call, _ in answer.calls if answer is not None else ():
            self.metrics.called(call.name)
        if finish != "cancelled":
            self._observe(running, answer, response)
        if running.channel == "champion" and answer is not None and running.request.price is None:
            self._to_shadow(running, answer, response)

    def _record(self, running: Running, answer: Answer | None, finish: str, seconds: float) -> ServedResponse:
        cost = NO_COST if answer is None else answer.cost
        texts = self.settings.log_texts
        said = None if answer is None else answer.text
        return ServedResponse(
            response_id=running.envelope.response_id,
            at=running.at.isoformat(timespec="milliseconds"),
            model=running.request.model,
            version=running.served.number,
            digest=running.served.digest,
            channel=running.channel,
            finish=finish,
            stop_reason="" if answer is None else answer.stop.value,
            decisions=() if answer is None else answer.decisions,
            calls=cost.calls,
            tool_seconds=cost.seconds,
            money=cost.money,
            units=self.around.units(cost),
            prompt_tokens=cost.prompt_tokens,
            completion_tokens=cost.completion_tokens,
            seconds=seconds,
            price=running.request.price,
            question=self.around.scrub(running.asked.question) if texts else None,
            answer=self.around.scrub(said) if texts and said is not None else None,
        )

    def _observe(self, running: Running, answer: Answer | None, response: ServedResponse) -> None:
        if running.pair is None:
            return
        failed = response.finish in ("error", "timeout")
        what = Observed(failed, answer is not None and answer.invalid, response.seconds, response.units)
        reason = self._watch.observe(running.pair, canary=running.channel == "canary", what=what)
        if reason is not None and self.stock.routes.canary == running.pair[1]:
            self.stock.end_canary()
            self.metrics.canary_stopped()
            self.around.canary_stopped(running.pair[1], reason)

    def _to_shadow(self, running: Running, answer: Answer, response: ServedResponse) -> None:
        number = self.stock.routes.shadow
        served = self.stock.lease(number) if number is not None and number != running.served.number else None
        if served is None:
            return
        talk: Talk[Answer] = play(served.backend, served.toolbox, running.asked)
        sent = self._shadow.send(served, talk, answer, response, self.stock.release)
        self.metrics.shadowed("sent" if sent else "left_out")


def _finish(answer: Answer) -> str:
    return "no_answer" if answer.reason else finish_of(answer)


def _check(answer: Answer) -> None:
    """A turn that could not be written at all is no answer."""
    if answer.stop is StopReason.REFUSED:
        raise Refused(500, f"the model cannot write: {answer.reason}", code="server_error")
