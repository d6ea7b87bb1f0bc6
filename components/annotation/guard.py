"""Who may ask this server for what: only loopback names, only its own pages, only bodies of a sane size.

Takes requests; gives them on or refuses them. A page of another site can neither post here (its `Origin` and
`Sec-Fetch-Site` give it away) nor read answers under a name that it resolves to loopback (the `Host` is checked), and
no page from here loads anything from elsewhere (Content-Security-Policy). Knows no annotations.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
BODY_LIMIT = 32 * 2**20
"""Bytes of a request."""
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    # not `no-referrer`: browsers would then call the origin of our own forms `null`
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Wraps an application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on and add the headers to its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        fault = _fault(scope["method"], Headers(scope=scope))
        if fault is not None:
            await _refuse(send, fault)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in _HEADERS.items())]
            await send(message)

        await self._app(scope, receive, with_headers)


async def read_body(request: Request) -> bytes:
    """The whole body; 413 when it is too long."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > BODY_LIMIT:
            raise HTTPException(413, f"the body is longer than {BODY_LIMIT} bytes. Fix: send it in parts")
        chunks.append(chunk)
    return b"".join(chunks)


def _fault(method: str, headers: Headers) -> str | None:
    """Why the request is refused; None when it is not."""
    host = headers.get("host", "")
    if _name(host) not in HOSTS:
        return f"this server answers under 127.0.0.1 and localhost only, not {host!r:.80}"
    if method in ("GET", "HEAD"):
        return None
    origin = headers.get("origin")
    same = origin is None or urlsplit(origin).netloc == host
    # programs send neither header; browsers send at least one of them with every post
    if not same or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return "a page of another site may not post here"
    return None


def _name(host: str) -> str:
    """Without the port."""
    return host if host.endswith("]") else host.rpartition(":")[0] or host


async def _refuse(send: Send, why: str) -> None:
    body = f"refused: {why}\n".encode()
    await send(
        {
            "type": "http.response.start",
            "status": 403,
            "headers": [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())],
        }
    )
    await send({"type": "http.response.body", "body": body})
