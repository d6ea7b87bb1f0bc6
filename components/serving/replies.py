"""What clients are sent: OpenAI's chat completion, whole or in chunks, with what it cost and which version it is of.

Takes answers; gives JSON-able objects. Runs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from components.schema.cost import Cost
from components.schema.trajectory import StopReason
from components.serving.conversation import Answer


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all chunks of one response share."""

    response_id: str
    created: int
    """Unix time."""
    model: str
    """Version that answers, e.g. `qanat@12`."""
    fingerprint: str

    def wrap(self, kind: str, **more: Any) -> dict[str, Any]:
        """An object of OpenAI's protocol."""
        head = {"id": self.response_id, "object": kind, "created": self.created, "model": self.model}
        return {**head, "system_fingerprint": self.fingerprint, **more}


def finish_of(answer: Answer) -> str:
    """OpenAI's reason why the answer ends."""
    if answer.call is not None:
        return "tool_calls"
    return "length" if answer.stop is StopReason.TRUNCATED else "stop"


def completion(envelope: Envelope, answer: Answer, units: Callable[[Cost], float]) -> dict[str, Any]:
    """The whole answer."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": answer.reason or None}
    if answer.call is not None:
        message["tool_calls"] = _tool_calls(envelope, answer)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_of(answer)}
    return envelope.wrap("chat.completion", choices=[choice], usage=usage(answer.cost), qanat=account(answer, units))


def chunk(envelope: Envelope, delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A piece of the answer."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return envelope.wrap("chat.completion.chunk", choices=[choice], **more)


def last_chunks(
    envelope: Envelope, answer: Answer, units: Callable[[Cost], float], *, with_usage: bool
) -> list[dict[str, Any]]:
    """What ends a stream: the call for the client or why there is no answer, the reason to finish, and the usage."""
    chunks = []
    if answer.call is not None:
        calls = [{"index": 0, **call} for call in _tool_calls(envelope, answer)]
        chunks.append(chunk(envelope, {"tool_calls": calls}))
    elif answer.reason:
        chunks.append(chunk(envelope, {"refusal": answer.reason}))
    chunks.append(chunk(envelope, {}, finish_of(answer), qanat=account(answer, units)))
    if with_usage:
        chunks.append(envelope.wrap("chat.completion.chunk", choices=[], usage=usage(answer.cost)))
    return chunks


def usage(cost: Cost) -> dict[str, int]:
    """Tokens read for the first turn, and written in all turns."""
    read, wrote = cost.prompt_tokens, cost.completion_tokens
    return {"prompt_tokens": read, "completion_tokens": wrote, "total_tokens": read + wrote}


def account(answer: Answer, units: Callable[[Cost], float]) -> dict[str, Any]:
    """What the server's own calls were and cost; an addition to OpenAI's protocol."""
    cost = answer.cost
    return {
        "stop_reason": answer.stop.value,
        "calls": [
            {"name": call.name, "arguments": dict(call.arguments), "is_error": result.is_error, "cached": result.cached}
            for call, result in answer.calls
        ],
        "cost": {"calls": cost.calls, "seconds": cost.seconds, "money": cost.money, "units": units(cost)},
    }


def event(value: dict[str, Any] | str) -> str:
    """One server-sent event."""
    return f"data: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}\n\n"


def _tool_calls(envelope: Envelope, answer: Answer) -> list[dict[str, Any]]:
    assert answer.call is not None
    arguments = json.dumps(dict(answer.call.arguments), ensure_ascii=False)
    function = {"name": answer.call.name, "arguments": arguments}
    number = len(answer.calls)
    return [
        {"id": f"call_{envelope.response_id.rpartition('-')[2]}_{number}", "type": "function", "function": function}
    ]
