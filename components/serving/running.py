"""A request under way, and the record of what became of it. Takes answers; gives records. Runs and writes nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime

from components.records.responses import ServedResponse
from components.schema.cost import NO_COST, Cost
from components.serving.asking import Asked
from components.serving.conversation import Answer
from components.serving.replies import Envelope, finish_of
from components.serving.routing import Routed
from components.serving.stock import Served
from components.serving.wire import ChatRequest


@dataclass(slots=True)
class Running:
    """A request under way."""

    request: ChatRequest
    envelope: Envelope
    served: Served
    routed: Routed
    asked: Asked
    came: float
    at: datetime
    cancelled: threading.Event
    written: asyncio.Queue[Sequence[int] | None]
    """Tokens of the answer; None at the end."""
    future: Future[Answer] | None = None
    done: bool = False


def finish_name(answer: Answer) -> str:
    """How an answer ended, as it is recorded."""
    return "no_answer" if answer.reason else finish_of(answer)


def record_of(
    running: Running,
    answer: Answer | None,
    finish: str,
    seconds: float,
    *,
    units: Callable[[Cost], float],
    kept: Callable[[str | None], str | None],
) -> ServedResponse:
    """What became of a request; `kept` gives of a text what may be kept."""
    cost = NO_COST if answer is None else answer.cost
    return ServedResponse(
        response_id=running.envelope.response_id,
        at=running.at.isoformat(timespec="milliseconds"),
        model=running.request.model,
        version=running.served.number,
        digest=running.served.digest,
        channel=running.routed.channel,
        finish=finish,
        stop_reason="" if answer is None else answer.stop.value,
        decisions=() if answer is None else answer.decisions,
        calls=cost.calls,
        tool_seconds=cost.seconds,
        money=cost.money,
        units=units(cost),
        prompt_tokens=cost.prompt_tokens,
        completion_tokens=cost.completion_tokens,
        seconds=seconds,
        price=running.request.price,
        question=kept(running.asked.question),
        answer=kept(None if answer is None else answer.text),
    )
