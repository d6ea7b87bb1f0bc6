"""Whether a canary must be taken back: its answers against the champion's of the same time.

Takes what became of answers; gives the reason to stop, once there is one. Every rule is a rate or a mean with its
standard error, and must be broken by several of them, because it is looked at after every answer: an equal canary is
then stopped about once in a hundred canaries, a bad one within dozens of answers. Stopping is what is safe. Routes
nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from components.serving.settings import CanaryRules

WINDOW = 1000
"""Answers of each arm that are looked back on."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What became of one request."""

    failed: bool
    """The server failed or ran out of time; a user's mistake is none."""
    invalid: bool
    """A turn was neither a valid call nor an answer."""
    seconds: float
    units: float


@dataclass(slots=True)
class Arm:
    """One version's answers."""

    seen: deque[Observed] = field(default_factory=lambda: deque(maxlen=WINDOW))


class CanaryWatch:
    """Champion and canary side by side; begins anew with every pair of versions."""

    def __init__(self, rules: CanaryRules) -> None:
        self._rules = rules
        self._pair: tuple[str, str] | None = None
        self.champion, self.canary = Arm(), Arm()

    def observe(self, pair: tuple[str, str], *, canary: bool, what: Observed) -> str | None:
        """Take note of an answer of the pair (champion, canary); the reason to stop the canary, if there is one."""
        if pair != self._pair:
            self._pair, self.champion, self.canary = pair, Arm(), Arm()
        (self.canary if canary else self.champion).seen.append(what)
        return self._verdict() if canary else None

    def _verdict(self) -> str | None:
        rules, ours, theirs = self._rules, list(self.canary.seen), list(self.champion.seen)
        if len(ours) < rules.minimum:
            return None
        for name, margin, canary, champion in (
            ("failed answers", rules.errors_margin, [o.failed for o in ours], [o.failed for o in theirs]),
            ("invalid turns", rules.invalid_margin, [o.invalid for o in ours], [o.invalid for o in theirs]),
        ):
            if _rise(canary, champion, margin) > rules.deviations:
                return f"{name}: {sum(canary)} of {len(canary)}, champion {sum(champion)} of {len(champion)}"
        if len(theirs) < rules.minimum:
            return None
        return self._slow(ours, theirs) or self._dear(ours, theirs)

    def _slow(self, ours: Sequence[Observed], theirs: Sequence[Observed]) -> str | None:
        limit = p95([o.seconds for o in theirs]) * self._rules.slow_factor
        slow = sum(o.seconds > limit for o in ours)
        expected, deviation = 0.05 * len(ours), math.sqrt(0.05 * 0.95 * len(ours))
        if slow > expected + self._rules.deviations * deviation:
            return f"slow answers: {slow} of {len(ours)} took more than {limit:.2f} s, {expected:.1f} were expected"
        return None

    def _dear(self, ours: Sequence[Observed], theirs: Sequence[Observed]) -> str | None:
        (mean, error), (usual, usual_error) = _mean([o.units for o in ours]), _mean([o.units for o in theirs])
        bound = usual + self._rules.cost_margin + self._rules.deviations * math.hypot(error, usual_error)
        if mean > bound:
            return f"cost: {mean:.2f} units an answer, champion {usual:.2f}"
        return None


def in_canary(key: str, share: float, version: str) -> bool:
    """Whether the user or request `key` belongs to the canary: always the same for one key and version."""
    drawn = int.from_bytes(hashlib.sha256(f"{version}\0{key}".encode("utf-8", "surrogatepass")).digest()[:8], "big")
    return drawn < share * 2**64


def p95(values: Sequence[float]) -> float:
    """The value that 19 of 20 do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(0.95 * len(ordered)) - 1)]


def _rise(canary: Sequence[bool], champion: Sequence[bool], margin: float) -> float:
    """Standard errors by which the canary's rate exceeds the champion's plus `margin`.

    Agresti and Caffo 2000: one success and one failure added to each, so that few answers do not look certain.
    """
    n, m = len(canary) + 2, len(champion) + 2
    p, q = (sum(canary) + 1) / n, (sum(champion) + 1) / m
    # with hardly any answers of the champion its rate is taken to be none
    if len(champion) < 10:
        q, m = 0.0, 10**9
    return (p - q - margin) / math.sqrt(p * (1 - p) / n + q * (1 - q) / m)


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error."""
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1)
    return mean, math.sqrt(variance / len(values))
