"""Returns of episodes. Takes rewards and estimates of what follows; gives targets of critics. No discount."""

from __future__ import annotations

from collections.abc import Sequence


def lambda_returns(rewards: Sequence[float], following: Sequence[float], *, trace: float) -> tuple[float, ...]:
    """TD(lambda) target of every turn: G_t = r_t + (1 - trace) v_{t+1} + trace G_{t+1} (Sutton & Barto 2018, 12.18).

    `following[t]`: the estimate v_{t+1} of what comes after turn t; that after the last turn counts as nothing.
    `trace` 1 gives Monte Carlo returns, 0 one-step targets.
    """
    targets, later = [0.0] * len(rewards), 0.0
    for turn in reversed(range(len(rewards))):
        last = turn + 1 == len(rewards)
        later = rewards[turn] + (0.0 if last else (1.0 - trace) * following[turn] + trace * later)
        targets[turn] = later
    return tuple(targets)


def returns_of(chains: Sequence[Sequence[float]], values: Sequence[float], *, trace: float) -> list[float]:
    """`lambda_returns` of several episodes whose turns lie one after another in `values` (one estimate a turn)."""
    targets: list[float] = []
    for rewards in chains:
        first = len(targets)
        following = [*values[first + 1 : first + len(rewards)], 0.0]
        targets += lambda_returns(rewards, following, trace=trace)
    return targets
