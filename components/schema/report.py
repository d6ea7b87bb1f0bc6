"""What evaluation, gate and promotion hand on. Takes nothing; gives the records. Does not compute metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
class Guard:
    """A condition that the gate's rule does not weigh against anything."""

    name: str
    """invalid calls, unsafe calls, p95 cost, p95 seconds, student, `slice NAME`."""
    state: Literal["holds", "unsure", "broken"]
    measured: Interval
    """Challenger minus champion."""
    margin: float
    """What is let through, in the figure's own unit."""
    reason: str
    """Half a sentence; empty when it holds."""


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
    tested: Mapping[str, Interval] = field(default_factory=dict)
    """`eval/accuracy` and `eval/cost` at the level of this look (1 - alpha), on which the rule rests."""
    guards: tuple[Guard, ...] = ()
    look: int = 1
    """Which challenger of this champion this was on these problems, from 1."""
    alpha: float = 0.0
    """What this look could spend: the chance that an equal is promoted. 0 when nothing was tested."""
    problems: str = ""
    """Digest of the set of problems."""


@dataclass(frozen=True, slots=True)
class PromotionDecision:
    """What was done with the verdict."""

    model_name: str
    version: str
    promoted: bool
    alias: str
    gate: GateResult
    promotion_id: str = ""
    """Id in the ledger; empty when nothing was promoted."""


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
