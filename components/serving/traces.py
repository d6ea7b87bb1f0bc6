"""A sampled share of answers as traces: an answer a span, below it a span a tool call with what it cost.

Takes answers with their records; gives spans to whoever keeps them, from a thread of its own, so that no client waits
for a tracker. What comes faster than it is kept is left out and counted. Texts only where the server is told to keep
them, and scrubbed.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from datetime import datetime

from components.evaluation.spans import NANOSECONDS, Span, call_span
from components.records.responses import ServedResponse
from components.schema.identity import stable_hash
from components.serving.conversation import Answer

WAITING = 64
"""Traces that may wait to be kept."""
Kept = Callable[[str | None], str | None]


class Traces:
    """Gives sampled answers to a keeper."""

    def __init__(
        self,
        keep: Callable[[str, Span], None],
        *,
        share: float,
        told: Callable[[str], None],
        fault: Callable[[str], None],
    ) -> None:
        """`keep` takes a version and a span; `told` hears kept, left_out or failed of every sampled answer."""
        self._keep, self._share, self._told, self._fault = keep, share, told, fault
        self._waiting: queue.Queue[tuple[str, Span] | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        if share:
            self._thread.start()

    def offer(self, response: ServedResponse, answer: Answer, kept: Kept) -> None:
        """Have the answer kept if it is one of the sample."""
        if not is_sampled(response.response_id, self._share):
            return
        try:
            self._waiting.put_nowait((response.version, answer_span(response, answer, kept)))
        except queue.Full:
            self._told("left_out")

    def close(self, seconds: float) -> None:
        """Keep what waits, then end; what is not kept within `seconds` is lost, so that no tracker holds up an end."""
        if self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._waiting.put(None, timeout=seconds / 2)
            self._thread.join(seconds / 2)

    def _run(self) -> None:
        while (one := self._waiting.get()) is not None:
            try:
                self._keep(*one)
            except Exception as error:  # noqa: BLE001 - a tracker that is down must not end the traces for good
                self._told("failed")
                self._fault(f"a trace of version {one[0]} could not be kept: {type(error).__name__}: {error}")
            else:
                self._told("kept")


def is_sampled(response_id: str, share: float) -> bool:
    """Whether the answer belongs to the sample: by its id, so that it can be told again."""
    return int(stable_hash(["trace", response_id]), 16) % 1_000_000 < share * 1_000_000


def answer_span(response: ServedResponse, answer: Answer, kept: Kept) -> Span:
    """The answer on the clock's time; its calls laid end to end from its start, as the price sheet charges them."""
    start = round(datetime.fromisoformat(response.at).timestamp() * NANOSECONDS)
    calls, at = [], start
    for call, result in answer.calls:
        calls.append(call_span(call, result, at, keep=kept))
        at = calls[-1].end_ns
    return Span(
        name=f"served: {' > '.join(response.decisions) or response.finish}",
        kind="AGENT",
        start_ns=start,
        end_ns=max(at, start + round(response.seconds * NANOSECONDS)),
        inputs={"question": response.question},
        outputs={"answer": response.answer, "finish": response.finish},
        attributes={
            "response_id": response.response_id,
            "model": response.model,
            "version": response.version,
            "digest": response.digest,
            "channel": response.channel,
            "stop_reason": response.stop_reason,
            "cost.calls": response.calls,
            "cost.seconds": response.tool_seconds,
            "cost.money": response.money,
            "cost.units": response.units,
            "tokens.prompt": response.prompt_tokens,
            "tokens.completion": response.completion_tokens,
            "price": "" if response.price is None else response.price,
        },
        failed=response.finish in ("error", "timeout", "no_answer"),
        children=tuple(calls),
    )
