"""HTTP for tools, guarded at the connected socket.

Takes a `Guard`, limits and a clock; gives bodies of answers, or an `HttpFault` in words that a policy may read. It
connects to checked addresses only, each call anew, and looks at the socket's peer again before a byte is sent. It
follows no redirects, uses no proxy and no credentials of the machine, and asks for no compression (a compressed answer
is refused unread). The time limit holds for the whole call, however slowly the bytes come. Knows nothing of tools and
models.
"""

from __future__ import annotations

import contextlib
import logging
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import httpcore2
import httpx2

from components.tools.guard import Guard, Refused

# At DEBUG the lower library writes down the headers that come back: a partner that repeats a secret would put it there.
logging.getLogger("httpcore2").setLevel(logging.INFO)

Clock = Callable[[], float]
UNREADABLE = "gave an answer that cannot be read:"
"""How the reason begins when there was an answer, but none that can be used."""


class HttpFault(Exception):  # noqa: N818 - the answer's fault, not ours
    """Why there is no answer; `told` says it about a named partner."""

    def __init__(self, reason: str, kind: str = "Error", *, refused: bool = False) -> None:
        """`refused`: the guard kept the request from a machine that may not be reached."""
        super().__init__(reason)
        self.reason, self.kind, self.refused = reason, kind, refused

    def told(self, partner: str) -> str:
        """`Error: the search engine answered HTTP 500.`"""
        return f"{self.kind}: {partner} {self.reason}."


class GuardedClient:
    """Sends one request at a time and thread; safe to share between threads."""

    def __init__(
        self,
        guard: Guard,
        *,
        clock: Clock,
        timeout: float,
        most_bytes: int,
        sockets: httpcore2.NetworkBackend | None = None,
    ) -> None:
        """`timeout`: seconds of a whole call; `most_bytes`: of an answer's body; `sockets`: the system's by default."""
        self._timeout, self._most_bytes = timeout, most_bytes
        self._client = httpx2.Client(
            transport=_Transport(guard, sockets or httpcore2.SyncBackend(), clock=clock, timeout=timeout),
            timeout=timeout,
            follow_redirects=False,
            trust_env=False,
        )

    def fetch(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        content_types: Sequence[str] = (),
    ) -> bytes:
        """The body of a good answer of one of the content types (any by default).

        Raises:
            HttpFault: there is none; the reason holds neither address nor headers.
        """
        sent = {**(headers or {}), "accept-encoding": "identity"}
        try:
            request = self._client.build_request(method, url, params=params, json=json, headers=sent)
            return self._read(request, content_types)
        except httpx2.TimeoutException:
            raise HttpFault(f"gave no answer within {self._timeout:g} s", "TimeoutError") from None
        except Refused as error:
            raise HttpFault(f"may not be reached: {error}", refused=True) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise HttpFault(f"cannot be reached ({type(error).__name__})") from None

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _read(self, request: httpx2.Request, content_types: Sequence[str]) -> bytes:
        response = self._client.send(request, stream=True)
        try:
            _check_head(response, content_types)
            body = bytearray()
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > self._most_bytes:
                    raise HttpFault(f"{UNREADABLE} it is larger than {self._most_bytes} bytes")
            return bytes(body)
        finally:
            response.close()


def _check_head(response: httpx2.Response, content_types: Sequence[str]) -> None:
    if 300 <= response.status_code < 400:
        raise HttpFault(f"{UNREADABLE} it is a redirect")
    if not 200 <= response.status_code < 300:
        raise HttpFault(f"answered HTTP {response.status_code}")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise HttpFault(f"{UNREADABLE} it is compressed")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_types and kind not in content_types:
        raise HttpFault(f"{UNREADABLE} it is not {' or '.join(content_types)}")


class _Transport(httpx2.BaseTransport):
    """Connections to what a guard lets through, one a request, each with one time limit from its first byte on."""

    def __init__(self, guard: Guard, sockets: httpcore2.NetworkBackend, *, clock: Clock, timeout: float) -> None:
        context = httpcore2.default_ssl_context()
        self._pools = {
            scheme: httpcore2.ConnectionPool(
                ssl_context=context,
                max_connections=None,
                max_keepalive_connections=0,
                network_backend=_Backend(guard, scheme, sockets, clock=clock, timeout=timeout),
            )
            for scheme in ("http", "https")
        }

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        pool = self._pools.get(request.url.scheme)
        if pool is None:
            raise Refused("only http and https may be used")
        assert isinstance(request.stream, httpx2.SyncByteStream)
        with faults_of_httpx():
            answer = pool.handle_request(core_request(request, request.stream))
        assert isinstance(answer.stream, Iterable)
        stream = _Stream(answer.stream)
        return httpx2.Response(answer.status, headers=answer.headers, stream=stream, extensions=answer.extensions)

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()


def core_request(request: httpx2.Request, content: Any) -> httpcore2.Request:
    """The request as the lower library takes it."""
    url = request.url
    target = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    return httpcore2.Request(
        request.method, target, headers=request.headers.raw, content=content, extensions=request.extensions
    )


@contextlib.contextmanager
def faults_of_httpx() -> Iterator[None]:
    """The lower library's exceptions under the name that they have in httpx."""
    try:
        yield
    except (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        kind = getattr(httpx2, type(error).__name__)
        raise kind(str(error)) from error


class _Stream(httpx2.SyncByteStream):
    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        with faults_of_httpx():
            yield from self._chunks

    def close(self) -> None:
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()


class _Backend(httpcore2.NetworkBackend):
    """Opens sockets to checked addresses."""

    def __init__(
        self, guard: Guard, scheme: str, sockets: httpcore2.NetworkBackend, *, clock: Clock, timeout: float
    ) -> None:
        self._guard, self._scheme, self._sockets = guard, scheme, sockets
        self._clock, self._timeout = clock, timeout

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        limit = _Limit(self._clock, self._timeout)
        try:
            addresses = self._guard.addresses(self._scheme, host, port)
        except OSError:
            raise httpcore2.ConnectError("the name has no address") from None
        for address in addresses:
            try:
                stream = self._sockets.connect_tcp(address, port, limit.left(), local_address, socket_options)
            except httpcore2.ConnectError:
                continue
            return self._checked(host, stream, limit)
        raise httpcore2.ConnectError("no address of the host takes connections")

    def connect_unix_socket(self, *arguments: Any, **named: Any) -> httpcore2.NetworkStream:
        raise Refused("only http and https may be used")

    def _checked(self, host: str, stream: httpcore2.NetworkStream, limit: _Limit) -> httpcore2.NetworkStream:
        """The connection, once its other end is seen to be what was let through."""
        try:
            self._guard.check_address(host, peer_of(stream))
        except Refused:
            stream.close()
            raise
        return _TimedStream(stream, limit)


def peer_of(stream: Any) -> str:
    """The address at the other end of a connected socket."""
    return str(stream.get_extra_info("server_addr")[0])


class _Limit:
    """A moment after which nothing more is waited for."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock, self._end = clock, clock() + seconds

    def left(self) -> float:
        """Seconds left, above 0; raises `ReadTimeout` when there are none."""
        seconds = self._end - self._clock()
        if seconds <= 0:
            raise httpcore2.ReadTimeout("the call's time is over")
        return seconds


class _TimedStream(httpcore2.NetworkStream):
    """A connection whose reads and writes share one time limit: a byte now and then does not prolong it."""

    def __init__(self, stream: httpcore2.NetworkStream, limit: _Limit) -> None:
        self._stream, self._limit = stream, limit

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._limit.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._limit.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, self._limit.left()), self._limit)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
