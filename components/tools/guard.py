"""Which machines a tool may talk to, decided on the address that is really connected to.

Takes the hosts that the user named; gives addresses to connect to, or `Refused`. A name is resolved here, every address
it has must be public, and the connection is made to that address and to no name: a second, different answer of the name
server (DNS rebinding) is never asked for. Addresses that are private, loopback, link-local (cloud metadata), multicast,
reserved or wrap such an address inside IPv6 are refused unless the user named the host as private. Opens no connection:
see `components.tools.guarded_http`.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx2

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]
"""Host and port to addresses; OSError when the name has none."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.ip_network("64:ff9b:1::/48")
_IPV4_COMPATIBLE = ipaddress.ip_network("::/96")


class Refused(ValueError):  # noqa: N818 - what happened, in one word
    """A machine that may not be reached; the message names no address, for a policy reads it."""


def resolve_name(host: str, port: int) -> tuple[str, ...]:
    """The addresses of a host, as the system's resolver gives them (it also reads 0x7f.1, 2130706433 and the like)."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True)
class Guard:
    """Hosts that may be reached."""

    hosts: frozenset[str]
    """The only hosts that are asked for at all, as `host_of` writes them."""
    private_hosts: frozenset[str] = frozenset()
    """Hosts whose addresses need not be public."""
    resolve: Resolve = resolve_name

    def addresses(self, scheme: str, host: str, port: int) -> tuple[str, ...]:
        """Addresses to connect to, best first; all of them may be reached.

        Raises:
            Refused: the host was not named, or one of its addresses is not public.
            OSError: the host has no address.
        """
        if scheme not in ("http", "https"):
            raise Refused("only http and https may be used")
        if host_key(host) not in self.hosts:
            raise Refused("this host was not named in the settings")
        found = tuple(self.resolve(host, port))
        if not found:
            raise OSError("the host has no address")
        for address in found:
            self.check_address(host, address)
        return found

    def check_address(self, host: str, address: str) -> None:
        """Raises `Refused` unless this address of `host` is public or the host was named as private."""
        if host_key(host) not in self.private_hosts and not is_public(address):
            raise Refused("its address is not public")


def guard_for(url: str, private_hosts: Sequence[str] = (), resolve: Resolve = resolve_name) -> Guard:
    """A guard that lets through the host of `url` alone."""
    return Guard(frozenset({host_of(url)}), frozenset(map(host_key, private_hosts)), resolve)


def host_of(url: str) -> str:
    """The host of an http or https address without user name, as guards compare it.

    The address is read by the library that will send the request: two readings of one are how guards are fooled.

    Raises:
        ValueError: it is something else.
    """
    if any(character.isspace() or not character.isprintable() or character == "\\" for character in url):
        raise ValueError("must not contain white space, control characters or backslashes")
    try:
        parts = httpx2.URL(url)
    except httpx2.InvalidURL:
        raise ValueError("must be an address that can be read") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("must start with http:// or https://")
    if not parts.host or parts.port == 0:
        raise ValueError("must name a host")
    if parts.fragment or "@" in parts.netloc.decode("ascii") or parts.userinfo:
        raise ValueError("must not contain a user name, a password or a fragment")
    return host_key(parts.raw_host.decode("ascii"))


def host_key(host: str) -> str:
    """The host as guards compare it: lower case, without brackets and final dot."""
    return host.strip("[]").removesuffix(".").lower()


def is_public(address: str) -> bool:
    """Whether the address belongs to a machine on the public internet, whatever it is wrapped in."""
    try:
        parsed: Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    carried = _carried(parsed)
    return _plain_public(carried) if carried is not None else all(map(_plain_public, (parsed, *_inside(parsed))))


def _carried(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that a mapped or NAT64 address is another spelling of."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    return _last_four_bytes(address) if address in _NAT64 else address.ipv4_mapped


def _plain_public(address: Address) -> bool:
    site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not address.is_unspecified
        and not site_local
    )


def _inside(address: Address) -> tuple[Address, ...]:
    """IPv4 addresses that an IPv6 address leads to: 6to4, Teredo, local NAT64, IPv4-compatible."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    found = [address.sixtofour, *(address.teredo or ())]
    if address in _NAT64_LOCAL or address in _IPV4_COMPATIBLE:
        found.append(_last_four_bytes(address))
    return tuple(one for one in found if one is not None)


def _last_four_bytes(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
