"""Which version answers a request. Takes the name that was asked for and who asks; gives a number. Leases nothing.

`NAME` is the champion, or the canary for its share of users; `NAME@champion`, `NAME@challenger` and `NAME@12` are what
they say. The same user always comes to the same version while a canary runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from components.records.responses import Channel
from components.serving.canary import in_canary
from components.serving.errors import Refused
from components.serving.stock import Stock


@dataclass(frozen=True, slots=True)
class Routed:
    """The version that is to answer, and by which way."""

    number: str
    channel: Channel
    pair: tuple[str, str] | None = None
    """Champion and canary, while there is a canary and the request is one of theirs."""

    @property
    def by_number(self) -> bool:
        """Whether this very version was meant: it is loaded where it is not in memory."""
        return self.channel in ("version", "challenger")


def route(name: str, stock: Stock, model: str, *, key: str) -> Routed:
    """The version that `model` means for the user (or request) `key`.

    Raises:
        Refused: there is none.
    """
    routes = stock.routes
    base, at, which = model.partition("@")
    if base != name or (at and not which):
        raise unknown(name, stock, model)
    if which.isdecimal() and len(which) < 10:
        return Routed(str(int(which)), "version")
    if which == "challenger" and routes.challenger is not None:
        return Routed(routes.challenger, "challenger")
    if which not in ("", "champion"):
        raise unknown(name, stock, model)
    if routes.champion is None:
        raise Refused(503, f"{name} has no champion yet", code="no_champion", retry_after=5.0)
    canary = routes.canary if not which and routes.canary != routes.champion else None
    if canary is None or stock.get(canary) is None:
        return Routed(routes.champion, "champion")
    pair = (routes.champion, canary)
    if in_canary(key, routes.canary_share, canary):
        return Routed(canary, "canary", pair)
    return Routed(routes.champion, "champion", pair)


def names(name: str, stock: Stock) -> list[str]:
    """Models that can be asked for without loading any."""
    routes = stock.routes
    known = [name] if routes.champion else []
    known += [f"{name}@challenger"] if routes.challenger else []
    return [*known, *(f"{name}@{served.number}" for served in stock.held())]


def unknown(name: str, stock: Stock, model: str) -> Refused:
    """There is no such model."""
    known = ", ".join(names(name, stock)) or "none yet"
    return Refused(404, f"there is no model {model!r:.100} ({known})", code="model_not_found", param="model")
