"""What evaluation, gate and promotion hand on. Takes nothing; gives the records. Does not compute metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int
    """Number of problems behind the figure."""


@dataclass(frozen=True, slots=True)
class EvalReport:
    """One policy on one set of problems."""

    policy: str
    metrics: Mapping[str, Interval]
    """Metric name to figure over all problems."""
    by_slice: Mapping[str, Mapping[str, Interval]]
    """Slice name, then metric name, to figure."""


@dataclass(frozen=True, slots=True)
class GateResult:
    """Verdict over a challenger."""

    decision: Literal["promote", "reject", "inconclusive"]
    reason: str
    """One sentence a reviewer can act on."""
    challenger: str
    champion: str
    differences: Mapping[str, Interval]
    """Paired difference challenger minus champion, by metric (and `slice/NAME/accuracy`)."""


@dataclass(frozen=True, slots=True)
class PromotionDecision:
    """What was done with the verdict."""

    model_name: str
    version: str
    promoted: bool
    alias: str
    gate: GateResult


@dataclass(frozen=True, slots=True)
class SearchTarget:
    """What a searched node teaches."""

    problem_id: str
    context_ids: tuple[int, ...]
    """Tokens up to the decision."""
    visits: Mapping[str, int]
    """Visits by decision."""
    value: float
    """Mean value at the node, in [-lambda * C_max, 1]."""
