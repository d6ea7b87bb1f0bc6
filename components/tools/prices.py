"""What a call costs: money and seconds from a price sheet, never from a clock.

Takes `PriceSettings` (section `prices` of params.yaml); gives `Cost` per call and units per cost, so that any stored
trajectory can be priced again. Does not count tokens.
"""

from __future__ import annotations

from components.schema.cost import Cost
from components.tools.settings import PriceSettings, ToolPrice

__all__ = ["PriceSettings", "PriceSheet", "ToolPrice"]


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

    def money_units(self, cost: Cost) -> float:
        """What the calls were paid for, in cost units."""
        return cost.money / self.settings.unit

    def time_units(self, cost: Cost) -> float:
        """What waiting for them is worth, in cost units."""
        return self.settings.money_per_second * cost.seconds / self.settings.unit
