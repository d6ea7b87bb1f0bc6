"""Alpha spending: how much error a look at a set of problems may cost when challengers meet on it again and again.

Takes the number of the look; gives its share of alpha. The shares of all planned looks add up to alpha, and each look
is tested at its own share (a union bound), so the chance of ever promoting an equal is at most alpha, whatever the
looks have in common. Left out: the sharper boundaries of Lan & DeMets for one accumulating sample, which challengers
are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from statistics import NormalDist
from typing import Literal

Spending = Literal["pocock", "obrien_fleming"]


def alpha_of(look: int, *, looks: int, spending: Spending, alpha: float) -> float:
    """What look number `look` (from 1) of `looks` may spend; 0 when all are used up."""
    if not 1 <= look <= looks:
        return 0.0
    spent = SPENDING[spending]
    return spent(look / looks, alpha) - spent((look - 1) / looks, alpha)


def _pocock(share: float, alpha: float) -> float:
    """alpha ln(1 + (e - 1) t) (Lan & DeMets 1983): the first look gets about twice what the last one gets."""
    return alpha * math.log1p((math.e - 1) * share)


def _obrien_fleming(share: float, alpha: float) -> float:
    """2 - 2 Phi(z / sqrt(t)) (Lan & DeMets 1983): next to nothing early, most of it at the last look."""
    if share == 0.0:
        return 0.0
    normal = NormalDist()
    return 2 - 2 * normal.cdf(normal.inv_cdf(1 - alpha / 2) / math.sqrt(share))


SPENDING: Mapping[Spending, Callable[[float, float], float]] = {"pocock": _pocock, "obrien_fleming": _obrien_fleming}
"""Name to the alpha spent once a share t of the looks was had."""
