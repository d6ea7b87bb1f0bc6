"""The door of the server: who may come in, under which name, with how large a body. Everything else is the app's.

Takes ASGI requests; passes on those that are in order, with their body read, and refuses the others in OpenAI's error
form. A request under a strange host name is refused, so that no web page can make a browser speak to a server on this
machine (DNS rebinding).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.serving.errors import Refused
from components.serving.keys import Keys

OPEN_PATHS = ("/healthz", "/readyz", "/metrics")
"""What machines ask for, without a key; it tells no texts."""


class Door:
    """ASGI middleware."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Keys,
        hosts: Collection[str],
        body_bytes: int,
        refused: Callable[[int], None],
    ) -> None:
        """`hosts`: names the server goes by, `*` for any; `refused` is told the status of what is turned away."""
        self._app, self._keys, self._hosts, self._bytes = app, keys, frozenset(hosts), body_bytes
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            headers = Headers(scope=scope)
            self._check_host(headers.get("host", ""))
            if scope["path"] not in OPEN_PATHS:
                self._keys.check(headers.get("authorization"))
            body = await self._read(headers, receive)
        except Refused as refusal:
            self._refused(refusal.status)
            await answer_refused(refusal)(scope, receive, send)
            return
        await self._app(scope, _again(body, receive), send)

    def _check_host(self, host: str) -> None:
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if "*" not in self._hosts and name.strip("[]").lower() not in self._hosts:
            raise Refused(400, f"this server is not called {host!r:.100}", code="unknown_host")

    async def _read(self, headers: Headers, receive: Receive) -> bytes:
        """The body, which is small."""
        announced = headers.get("content-length", "0")
        too_large = Refused(413, f"the body has more than {self._bytes} bytes", code="body_too_large")
        if not announced.isdecimal() or len(announced) > 18 or int(announced) > self._bytes:
            raise too_large
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "the body broke off", code="body_incomplete")
            body += message.get("body", b"")
            if len(body) > self._bytes:
                raise too_large
            if not message.get("more_body", False):
                return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """What was read, once more; then whatever comes."""
    due: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return due.pop() if due else await receive()

    return replay


def answer_refused(refusal: Refused) -> Response:
    """The refusal as a response."""
    text = json.dumps(refusal.body())  # in ASCII: what clients sent may hold characters that no text can
    return Response(text, refusal.status, refusal.headers(), media_type="application/json")
