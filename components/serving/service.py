"""A request from its arrival to its record: let in, routed to a version, played by that version's engine, written down.

Takes validated requests; gives answers, whole or while they are written. Knows nothing of HTTP. Clocks, ids and whoever
can load a version are passed in.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Sequence

from components.policy.told_price import FollowsNoPrice
from components.records.responses import ServedResponse, append_response
from components.schema.identity import stable_hash
from components.schema.trajectory import StopReason
from components.serving.admission import Admission
from components.serving.asking import asked_of
from components.serving.canary import CanaryWatch, Observed
from components.serving.conversation import Answer
from components.serving.errors import Refused, bad
from components.serving.metrics import Metrics
from components.serving.replies import Envelope
from components.serving.routing import Routed, names, route, unknown
from components.serving.running import Running, finish_name, record_of
from components.serving.settings import ServeSettings
from components.serving.shadow import Shadow
from components.serving.stock import Served, Stock
from components.serving.surroundings import NoSuchVersion, Surroundings
from components.serving.traces import Traces
from components.serving.wire import ChatRequest
from components.serving.words import Words
from components.tools.settings import NO_COMPOSITE, CompositeSettings

ATTEMPTS = 4
"""Looks at who is champion, if whoever was found is gone a moment later."""


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
        self.traces = Traces(
            surroundings.trace, share=settings.traces, told=self.metrics.traced, fault=surroundings.fault
        )
        self._shadow = Shadow(
            surroundings.log / "shadow.jsonl", most=settings.shadow_concurrent, units=surroundings.units
        )

    def models(self) -> list[str]:
        """Names that can be asked for; a version that is not listed is loaded when it is asked for."""
        return names(self.name, self.stock)

    async def begin(self, request: ChatRequest, *, came: float) -> Running:
        """Let the request in and have a version begin to answer it; whoever began must end it by `whole` or `pieces`.

        Raises:
            Refused: it cannot be answered.
        """
        self.admission.enter()
        try:
            response_id = f"chatcmpl-{self.around.new_id()}"
            served, routed = await self._lease(request, response_id)
            try:
                return await self._submit(request, response_id, served, routed, came)
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
            finish = finish_name(answer)
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
            finish = finish_name(answer)
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

    async def _lease(self, request: ChatRequest, response_id: str) -> tuple[Served, Routed]:
        for _ in range(ATTEMPTS):
            routed = route(self.name, self.stock, request.model, key=request.who or response_id)
            served = self.stock.lease(routed.number)
            if served is not None:
                return served, routed
            if routed.by_number:
                await self._have_loaded(routed.number)
        raise Refused(503, f"version {routed.number} is being loaded", code="version_loading", retry_after=2.0)

    async def _have_loaded(self, number: str) -> None:
        try:
            await asyncio.wait_for(
                asyncio.shield(asyncio.wrap_future(self.around.fetch(number))), self.settings.limits.seconds
            )
        except NoSuchVersion:
            raise unknown(self.name, self.stock, f"{self.name}@{number}") from None
        except TimeoutError:
            raise Refused(503, f"version {number} is being loaded", code="version_loading", retry_after=5.0) from None
        except (ValueError, OSError, RuntimeError) as error:
            raise Refused(503, f"version {number} cannot be served: {error}", code="version_unservable") from None

    async def _submit(
        self, request: ChatRequest, response_id: str, served: Served, routed: Routed, came: float
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
        at = self.around.now()
        envelope = Envelope(
            response_id, int(at.timestamp()), f"{self.name}@{served.number}", f"{self.name}:{served.fingerprint}"
        )
        running = Running(request, envelope, served, routed, asked, came, at, threading.Event(), asyncio.Queue())
        loop = asyncio.get_running_loop()

        def tell(ids: Sequence[int] | None) -> None:
            try:
                loop.call_soon_threadsafe(running.written.put_nowait, ids)
            except RuntimeError:  # the loop has ended, and nobody listens any more
                running.cancelled.set()

        try:
            talk = served.talk(asked, hear=tell if request.stream else None, cancelled=running.cancelled)
        except FollowsNoPrice as error:
            raise bad(str(error), param="price", code="price_unsupported") from None
        running.future = served.engine.submit(talk)
        running.future.add_done_callback(lambda future: self._played(served, tell))
        return running

    def _played(self, served: Served, tell: Callable[[None], None]) -> None:
        self.stock.release(served)
        tell(None)

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
        response = record_of(running, answer, finish, seconds, units=self.around.units, kept=self._kept)
        try:
            append_response(self.around.log, response)
        except OSError as error:  # the answer is good all the same
            self.around.fault(f"{response.response_id} could not be recorded: {error}")
        self.metrics.answered(response)
        for call, _ in answer.calls if answer is not None else ():
            self.metrics.called(call.name)
        if answer is not None:
            self.traces.offer(response, answer, self._kept)
        if finish != "cancelled":
            self._observe(running, answer, response)
        if running.routed.channel == "champion" and answer is not None and running.request.price is None:
            self._to_shadow(running, answer, response)

    def _kept(self, text: str | None) -> str | None:
        """The text as it may be kept; None when texts are not."""
        if text is None or not self.settings.log_texts:
            return None
        try:
            return self.around.scrub(text)
        except Exception as error:  # noqa: BLE001 - a project's own function; what it did not clean is not kept
            self.around.fault(f"serve.scrub failed, the text is not kept: {type(error).__name__}: {error}")
            return None

    def _observe(self, running: Running, answer: Answer | None, response: ServedResponse) -> None:
        if running.routed.pair is None:
            return
        failed = response.finish in ("error", "timeout")
        what = Observed(failed, answer is not None and answer.invalid, response.seconds, response.units)
        reason = self._watch.observe(running.routed.pair, canary=running.routed.channel == "canary", what=what)
        if reason is not None and self.stock.routes.canary == running.routed.pair[1]:
            self.stock.end_canary()
            self.metrics.canary_stopped()
            self.around.canary_stopped(running.routed.pair[1], reason)

    def _to_shadow(self, running: Running, answer: Answer, response: ServedResponse) -> None:
        number = self.stock.routes.shadow
        served = self.stock.lease(number) if number is not None and number != running.served.number else None
        if served is None:
            return
        sent = self._shadow.send(served, served.talk(running.asked), answer, response, self.stock.release)
        self.metrics.shadowed("sent" if sent else "left_out")


def _check(answer: Answer) -> None:
    """A turn that could not be written at all is no answer."""
    if answer.stop is StopReason.REFUSED:
        raise Refused(500, f"the model cannot write: {answer.reason}", code="server_error")
