"""No spelling of an address, and no name, leads a tool to a machine that is not public."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import httpcore2
import pytest
from doubles import FakeClock
from pydantic import ValidationError

from components.tools.guard import Guard, Refused, guard_for, host_of, is_public
from components.tools.guarded_http import GuardedClient, HttpFault
from components.tools.own_settings import HttpToolSettings

PUBLIC = "93.184.216.34"
NAMES: dict[str, tuple[str, ...]] = {
    "public.example": (PUBLIC,),
    "loopback.example": ("127.0.0.1",),
    "half.example": (PUBLIC, "10.0.0.1"),
    "metadata.example": ("169.254.169.254",),
    "six.example": ("::1",),
    "mapped.example": ("::ffff:10.0.0.1",),
    "zone.example": ("fe80::1%eth0",),
    "unique.example": ("fd00::1",),
    "broken.example": ("not an address",),
    "nowhere.example": (),
    "localhost": ("127.0.0.1", "::1"),
    "metadata.google.internal": ("169.254.169.254",),
    "127.0.0.1.nip.example": ("127.0.0.1",),
    "xn--bcher-kva.example": ("192.168.0.1",),
}
WHOLE = [
    "http://user@127.0.0.1/",
    "http://user:password@127.0.0.1/",
    "http://public.example@127.0.0.1/",
    "http://127.0.0.1@public.example/",
    "http://public.example:80@127.0.0.1/",
    "http://public.example%40127.0.0.1/",
    "http://127.0.0.1\\@public.example/",
    "http://public.example\\@127.0.0.1/",
    "http:\\\\127.0.0.1/",
    "http://127.0.0.1#@public.example/",
    "http://public.example#@127.0.0.1/",
    "http://127.0.0.1\t/",
    "http://127.0.0.1\n.public.example/",
    "http://127.0.0.1\r\nHost: public.example/",
    "http:// 127.0.0.1/",
    "http://127.0.0.1\x00.public.example/",
    "http://127.0.0.1\u200b/",
    "http:///127.0.0.1/",
    "http:127.0.0.1",
    "//127.0.0.1/",
    "http://",
    "http://:80/",
    "http://[::1/",
    "http://127.0.0.1:0/",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:-1/",
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "ftp://public.example/",
    "gopher://127.0.0.1:6379/_INFO",
    "dict://127.0.0.1:11211/stats",
    "ldap://127.0.0.1/",
    "unix:///var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
    "jar:http://127.0.0.1!/",
    "data:text/plain,hello",
    "javascript:alert(1)",
    "ws://127.0.0.1/",
    "",
    "127.0.0.1",
]
HOSTS = (Path(__file__).parent / "hostile_hosts.txt").read_text(encoding="utf-8").splitlines()
"""Loopback, private, link-local, multicast, reserved; as numbers of every base, wrapped in IPv6, in other scripts."""
HOSTILE = [*(f"{scheme}://{host}/x" for host in HOSTS for scheme in ("http", "https")), *WHOLE]


class NoSockets(httpcore2.NetworkBackend):
    """Writes down where a connection would have gone, and makes none."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def connect_tcp(self, host: str, port: int, *rest: Any, **named: Any) -> httpcore2.NetworkStream:
        self.asked.append(host)
        raise httpcore2.ConnectError("no sockets here")


class Diverted(httpcore2.NetworkBackend):
    """A machine whose routing brings every connection to loopback, whatever address was asked for."""

    def __init__(self, port: int) -> None:
        self._port = port

    def connect_tcp(self, host: str, port: int, *rest: Any, **named: Any) -> httpcore2.NetworkStream:
        return httpcore2.SyncBackend().connect_tcp("127.0.0.1", self._port, 5.0)


def resolve(host: str, port: int) -> tuple[str, ...]:
    """The table; what is not in it is read as an address by the system, which asks no name server."""
    known = NAMES.get(host.lower().removesuffix("."))
    if known is not None:
        return known
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return tuple(str(entry[4][0]) for entry in found)


def client(guard: Guard, sockets: httpcore2.NetworkBackend) -> GuardedClient:
    return GuardedClient(guard, clock=FakeClock(tick=0.0), timeout=5.0, most_bytes=1000, sockets=sockets)


def settings(url: str) -> HttpToolSettings:
    return HttpToolSettings(url=url, function={"name": "get", "description": "Gets.", "parameters": {"type": "object"}})


def test_there_are_more_than_a_hundred_hostile_addresses() -> None:
    assert len(set(HOSTILE)) > 100


@pytest.mark.parametrize("url", HOSTILE)
def test_a_hostile_address_is_refused_and_nothing_is_connected(url: str) -> None:
    sockets = NoSockets()
    try:
        guard = guard_for(settings(url).url, resolve=resolve)
    except ValidationError:
        return  # refused at the door
    with pytest.raises(HttpFault) as caught:
        client(guard, sockets).fetch("GET", url)
    assert sockets.asked == []
    assert not any(word in caught.value.reason for word in ("127", "10.", "169", "::"))


@pytest.mark.parametrize(
    "url", ["http://public.example/x", "https://PUBLIC.example./x", f"http://{PUBLIC}/", "http://8.8.8.8/"]
)
def test_a_public_address_is_connected_to_by_number(url: str) -> None:
    sockets = NoSockets()
    with pytest.raises(HttpFault, match=r"cannot be reached \(ConnectError\)"):
        client(guard_for(url, resolve=resolve), sockets).fetch("GET", url)
    assert [is_public(address) for address in sockets.asked] == [True]


def test_a_name_that_changes_its_address_is_looked_at_each_time_and_connected_to_what_was_looked_at() -> None:
    answers = iter([(PUBLIC,), ("127.0.0.1",)])
    sockets = NoSockets()
    rebound = client(guard_for("http://rebind.example", resolve=lambda host, port: next(answers)), sockets)
    reasons = []
    for _ in range(2):
        with pytest.raises(HttpFault) as caught:
            rebound.fetch("GET", "http://rebind.example/")
        reasons.append(caught.value.reason)
    assert sockets.asked == [PUBLIC]
    assert reasons[1] == "may not be reached: its address is not public"


def test_the_other_end_of_the_socket_is_looked_at_before_a_byte_is_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        diverted = client(guard_for("http://public.example", resolve=resolve), Diverted(server.getsockname()[1]))
        with pytest.raises(HttpFault, match="its address is not public"):
            diverted.fetch("GET", "http://public.example/")
        connection, _ = server.accept()
        with connection:
            assert connection.recv(100) == b""


def test_a_tool_reaches_the_host_of_its_settings_and_no_other() -> None:
    sockets = NoSockets()
    with pytest.raises(HttpFault, match="this host was not named"):
        client(guard_for("http://public.example", resolve=resolve), sockets).fetch("GET", "http://8.8.8.8/")
    assert sockets.asked == []


def test_a_host_that_was_named_as_private_may_be_private() -> None:
    named = guard_for("http://loopback.example", ["Loopback.Example."], resolve)
    assert named.addresses("http", "loopback.example", 80) == ("127.0.0.1",)
    with pytest.raises(Refused):
        guard_for("http://loopback.example", ["other.example"], resolve).addresses("http", "loopback.example", 80)


@pytest.mark.parametrize("scheme", ["file", "ftp", "unix", "ws"])
def test_only_http_is_spoken(scheme: str) -> None:
    with pytest.raises(Refused, match="only http and https"):
        guard_for("http://public.example", resolve=resolve).addresses(scheme, "public.example", 80)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    ("url", "host"), [("HTTP://Example.COM:8080/a?b", "example.com"), ("https://[2606:4700::1111]/", "2606:4700::1111")]
)
def test_hosts_are_compared_in_one_spelling(url: str, host: str) -> None:
    assert host_of(url) == host


def test_the_systems_resolver_is_asked_by_default() -> None:
    assert "127.0.0.1" in Guard(frozenset({"127.0.0.1"}), frozenset({"127.0.0.1"})).addresses("http", "127.0.0.1", 80)
