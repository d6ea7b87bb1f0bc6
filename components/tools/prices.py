"""What a call costs: money and seconds from a price sheet, never from a clock.

Takes `PriceSettings` (section `prices` of params.yaml); gives `Cost` per call and units per cost, so that any stored
trajectory can be priced again. Does not count tokens.

The defaults are those of a deployment with a paid search API and a hosted sandbox: a search costs 0.002 and its p50 is
0.4 s, a python call costs 0.0002 and its p50 is 0.2 s (round trip included; the local tools answer in a millisecond). A
second of waiting is worth 0.005, that is 18 an hour. So a search is 0.002 + 0.005 * 0.4 = 0.004, the unit, and a python
call 0.0002 + 0.005 * 0.2 = 0.0012, that is 0.3 units.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from components.schema.cost import Cost


class ToolPrice(BaseModel):
    """One tool's line on the price sheet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    money: float = Field(ge=0)
    """Currency units per call."""
    seconds: float = Field(ge=0)
    """p50 of a call; a call that times out is charged the same, in full."""


class PriceSettings(BaseModel):
    """The price sheet as it is written in params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tools: Mapping[str, ToolPrice] = {
        "search": ToolPrice(money=0.002, seconds=0.4),
        "python": ToolPrice(money=0.0002, seconds=0.2),
    }
    unlisted: ToolPrice = ToolPrice(money=0.002, seconds=0.4)
    """Price of a call to a tool that is not listed, or does not exist."""
    money_per_second: float = Field(default=0.005, ge=0)
    """w: what a second of waiting is worth."""
    unit: float = Field(default=0.004, gt=0)
    """Money that makes one cost unit: one search."""


class PriceSheet:
    """Prices calls and costs under fixed settings."""

    def __init__(self, settings: PriceSettings | None = None) -> None:
        self.settings = settings or PriceSettings()

    def charge(self, tool: str) -> Cost:
        """Recorded cost of one call to `tool`, whether it succeeds, fails or times out."""
        price = self.settings.tools.get(tool, self.settings.unlisted)
        return Cost(calls=1, seconds=price.seconds, money=price.money)

    def units(self, cost: Cost) -> float:
        """Cost units: (money + w * seconds) / unit."""
        return (cost.money + self.settings.money_per_second * cost.seconds) / self.settings.unit
