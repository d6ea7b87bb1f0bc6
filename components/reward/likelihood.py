"""Likelihood of the reference as reward (DESIGN 1, row 5). Takes a frozen scorer's mean log-probabilities; gives it.

The scorer reads the question and the tool responses, never the calls: a query with the answer earns nothing by it.
"""

from __future__ import annotations

import math
from typing import Literal


def likelihood(mean: float, form: Literal["inv_ppl", "neg_ppl"]) -> float:
    """1/PPL = exp(mean) in (0, 1], or -PPL = -exp(-mean)."""
    return math.exp(mean) if form == "inv_ppl" else -math.exp(-mean)
