"""Cost in recorded units. Takes nothing; gives `Cost`. Does not price anything: that is the price sheet's work."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cost:
    """What an action used, in recorded units (never a live clock inside a reward)."""

    calls: int = 0
    """Tool calls made, nested ones included."""
    seconds: float = 0.0
    """Seconds of tool time as the price sheet charges them (p50 per call), not wall clock."""
    money: float = 0.0
    """Money of the tool calls, in the price sheet's currency unit."""
    prompt_tokens: int = 0
    """Tokens the model read."""
    completion_tokens: int = 0
    """Tokens the model wrote."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            calls=self.calls + other.calls,
            seconds=self.seconds + other.seconds,
            money=self.money + other.money,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
        )


NO_COST = Cost()
