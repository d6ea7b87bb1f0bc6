"""The HTTP side of the server: a FastAPI app over a `Service`. Takes the service and the keys; gives the app.

Speaks OpenAI's chat completions, so that its clients work unchanged; every error has OpenAI's form, and a user's
mistake is never a 500. Knows no registry and loads no model.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from components.records.feedback import Feedback, append_feedback
from components.records.responses import find_response
from components.schema.arguments import why_unwritable
from components.serving.door import Door, answer_refused
from components.serving.errors import Refused, bad
from components.serving.keys import Keys
from components.serving.replies import chunk, completion, event, last_chunks
from components.serving.running import Running
from components.serving.service import Service
from components.serving.settings import LOOPBACK
from components.serving.wire import ChatRequest, FeedbackRequest

R = TypeVar("R")
GONE = 499
"""Status of a request whose client has left; nobody sees it."""
_ERROR = {
    "description": "The request is not answered; the body is OpenAI's error object.",
    "content": {"application/json": {"schema": {"type": "object", "required": ["error"]}}},
}
ERRORS: dict[int | str, dict[str, Any]] = dict.fromkeys((400, 401, 404, 405, 413, 422, 429, 500, 503, 504), _ERROR)


def make_app(service: Service, *, keys: Iterable[str] = ()) -> FastAPI:
    """The app; with keys, every request but those of machines must carry one."""
    app = FastAPI(title="Qanat", docs_url=None, redoc_url=None, responses=ERRORS)
    _answer_faults(app, service)
    _add_health(app, service)
    _add_models(app, service)
    _add_chat(app, service)
    _add_feedback(app, service)
    app.add_middleware(
        Door,
        keys=Keys(keys),
        hosts=(*LOOPBACK, *service.settings.allowed_hosts),
        body_bytes=service.settings.limits.body_bytes,
        refused=service.metrics.refused,
    )
    return app


def _answer_faults(app: FastAPI, service: Service) -> None:
    """Every fault in OpenAI's form."""

    @app.exception_handler(Refused)
    async def refused(request: Request, fault: Refused) -> Response:
        service.metrics.refused(fault.status)
        return answer_refused(fault)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, fault: RequestValidationError) -> Response:
        first = fault.errors()[0]
        param = ".".join(str(part) for part in first["loc"] if part != "body") or None
        where = f"{param}: " if param else ""
        return await refused(request, bad(f"{where}{first['msg']}", param=param, code=str(first["type"])))

    @app.exception_handler(HTTPException)
    async def http(request: Request, fault: HTTPException) -> Response:
        answer = await refused(request, Refused(fault.status_code, str(fault.detail), code="http"))
        answer.headers.update(fault.headers or {})
        return answer

    @app.exception_handler(Exception)
    async def bug(request: Request, fault: Exception) -> Response:
        service.around.fault(f"{request.url.path}: {type(fault).__name__}: {fault}")
        return await refused(request, Refused(500, "the server has a fault; it was recorded", code="server_error"))


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/healthz")
    async def alive() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def ready() -> Response:
        """Whether the champion answers; what is served, and what could not be, in any case."""
        stock = service.stock
        routes, held = stock.routes, {one.number: one for one in stock.held()}
        roles = {role: held.get(getattr(routes, role) or "") for role in ("champion", "canary", "shadow")}
        status = "draining" if service.admission.draining else "ready" if roles["champion"] else "no champion yet"
        shown = {
            "status": status,
            **{role: one and {"version": one.number, "digest": one.digest} for role, one in roles.items()},
            "canary_share": routes.canary_share,
            "in_memory": sorted(held, key=int),
            "not_served": dict(stock.faults.versions),
            "registry": stock.faults.registry or "reachable",
        }
        return JSONResponse(shown, 200 if status == "ready" else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        """For Prometheus."""
        text = service.metrics.text(service.stock, service.admission.inside)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_models(app: FastAPI, service: Service) -> None:
    def shown(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": 0, "owned_by": service.name}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """Names that can be asked for."""
        return {"object": "list", "data": [shown(name) for name in service.models()]}

    @app.get("/v1/models/{name}")
    async def model(name: str) -> dict[str, Any]:
        """One of them."""
        if name not in service.models():
            raise Refused(404, f"there is no model {name!r:.100}", code="model_not_found", param="model")
        return shown(name)


def _add_chat(app: FastAPI, service: Service) -> None:
    @app.post("/v1/chat/completions")
    async def chat(asked: ChatRequest, request: Request) -> Response:
        """An answer, or a call for the client to make; whole or as server-sent events."""
        came = service.around.clock()
        running = await service.begin(asked, came=came)
        headers = {"x-request-id": running.envelope.response_id, "x-qanat-version": running.served.number}
        if asked.stream:
            return StreamingResponse(
                _events(service, running, request),
                media_type="text/event-stream",
                headers={**headers, "cache-control": "no-cache", "x-accel-buffering": "no"},
            )
        try:
            answer = await _unless_gone(request, service.whole(running))
        finally:
            service.leave(running)
        if answer is None:
            return Response(status_code=GONE)
        return JSONResponse(completion(running.envelope, answer, service.around.units), headers=headers)


async def _events(service: Service, running: Running, request: Request) -> AsyncIterator[str]:
    """The answer as server-sent events; a fault on the way is the last of them."""
    envelope, options = running.envelope, running.request.stream_options
    pieces = service.pieces(running)
    try:
        yield event(chunk(envelope, {"role": "assistant", "content": ""}))
        async for piece in pieces:
            if await request.is_disconnected():
                return
            if isinstance(piece, str):
                yield event(chunk(envelope, {"content": piece}))
                continue
            with_usage = options is not None and options.include_usage
            for one in last_chunks(envelope, piece, service.around.units, with_usage=with_usage):
                yield event(one)
        yield event("[DONE]")
    except Refused as refusal:
        service.metrics.refused(refusal.status)
        yield event(json.dumps(refusal.body()))
    finally:
        await pieces.aclose()
        service.leave(running)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, R]) -> R | None:
    """What the work gives; None, and the work is given up, when the client leaves before."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return await working if working.done() else None
    finally:
        for one in (working, leaving):
            one.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


def _add_feedback(app: FastAPI, service: Service) -> None:
    @app.post("/v1/feedback", status_code=201)
    async def feedback(given: FeedbackRequest) -> dict[str, str]:
        """A user's word on a response; it becomes a candidate in the annotation queue."""
        if given.correction is not None and why_unwritable(given.correction) is not None:
            raise bad(f"the correction {why_unwritable(given.correction)}", param="correction")
        log = service.around.log
        response = await asyncio.to_thread(find_response, log, given.response_id)
        if response is None:
            raise Refused(404, f"there is no response {given.response_id!r:.100}", code="response_not_found",
                          param="response_id")  # fmt: skip
        record = Feedback(
            feedback_id=f"feedback-{service.around.new_id()}",
            response_id=response.response_id,
            thumbs=given.thumbs,
            correction=None if given.correction is None else service.around.scrub(given.correction),
            question=response.question,
            answer=response.answer,
            created_at=service.around.now().isoformat(timespec="milliseconds"),
        )
        await asyncio.to_thread(append_feedback, log / "feedback.jsonl", record)
        return {"feedback_id": record.feedback_id, "response_id": record.response_id}
