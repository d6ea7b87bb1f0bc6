"""The guarded connection of an MCP server that is reached by HTTP. Takes a `Guard`; gives an `httpx2.AsyncClient`.

The same rules as in `components.tools.guarded_http`, for the SDK's asynchronous client: checked addresses only, the
socket's peer looked at again, no proxy, no compression, bounded answers. Connections stay open between requests and
have no common time limit: the SDK's own limits hold for each call. Speaks no MCP.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from typing import Any

import httpcore2
import httpx2
from anyio import to_thread

from components.tools.guard import Guard, Refused
from components.tools.guarded_http import core_request, faults_of_httpx, peer_of

MOST_BYTES = 16 * 2**20
"""Bytes of one answer at most."""


def guarded_client(
    guard: Guard, headers: Mapping[str, str], timeout: float, *, on_refused: Callable[[], None]
) -> httpx2.AsyncClient:
    """A client that reaches what `guard` lets through; a stream may be silent for ten times `timeout` seconds.

    `on_refused` is called when the guard kept it from a machine: the SDK's own errors do not say why.
    """
    return httpx2.AsyncClient(
        transport=_Transport(guard, on_refused),
        headers={**headers, "accept-encoding": "identity"},
        timeout=httpx2.Timeout(timeout, read=10 * timeout),
        follow_redirects=False,
        trust_env=False,
    )


class _Transport(httpx2.AsyncBaseTransport):
    def __init__(self, guard: Guard, on_refused: Callable[[], None]) -> None:
        context = httpcore2.default_ssl_context()
        self._pools = {
            scheme: httpcore2.AsyncConnectionPool(
                ssl_context=context, max_connections=None, network_backend=_Backend(guard, scheme, on_refused)
            )
            for scheme in ("http", "https")
        }

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        pool = self._pools.get(request.url.scheme)
        if pool is None:
            raise httpx2.UnsupportedProtocol("only http and https may be used")
        assert isinstance(request.stream, httpx2.AsyncByteStream)
        with faults_of_httpx():
            answer = await pool.handle_async_request(core_request(request, request.stream))
        assert isinstance(answer.stream, AsyncIterable)
        stream = _Stream(answer.stream)
        response = httpx2.Response(answer.status, headers=answer.headers, stream=stream, extensions=answer.extensions)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await stream.aclose()
            raise httpx2.RemoteProtocolError("the answer is compressed")
        return response

    async def aclose(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, chunks: AsyncIterable[bytes]) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        with faults_of_httpx():
            async for chunk in self._chunks:
                size += len(chunk)
                if size > MOST_BYTES:
                    raise httpx2.ReadError(f"the answer is larger than {MOST_BYTES} bytes")
                yield chunk

    async def aclose(self) -> None:
        close = getattr(self._chunks, "aclose", None)
        if close is not None:
            await close()


class _Backend(httpcore2.AsyncNetworkBackend):
    """Opens sockets to checked addresses."""

    def __init__(self, guard: Guard, scheme: str, on_refused: Callable[[], None]) -> None:
        self._guard, self._scheme, self._on_refused = guard, scheme, on_refused
        self._sockets = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        try:
            addresses = await to_thread.run_sync(self._guard.addresses, self._scheme, host, port)
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from None
        except Refused as error:
            raise self._refusal(error) from None
        for address in addresses:
            try:
                stream = await self._sockets.connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore2.ConnectError:
                continue
            return await self._checked(host, stream)
        raise httpcore2.ConnectError("no address of the host takes connections")

    async def connect_unix_socket(self, *arguments: Any, **named: Any) -> httpcore2.AsyncNetworkStream:
        raise httpcore2.ConnectError("only http and https may be used")

    async def _checked(self, host: str, stream: httpcore2.AsyncNetworkStream) -> httpcore2.AsyncNetworkStream:
        """The connection, once its other end is seen to be what was let through."""
        try:
            self._guard.check_address(host, peer_of(stream))
        except Refused as error:
            await stream.aclose()
            raise self._refusal(error) from None
        return stream

    def _refusal(self, error: Refused) -> httpcore2.ConnectError:
        self._on_refused()
        return httpcore2.ConnectError(str(error))

    async def sleep(self, seconds: float) -> None:
        await self._sockets.sleep(seconds)
