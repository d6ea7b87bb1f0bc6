"""The gate's guards: what must hold whatever was gained elsewhere.

Takes the pairs, their differences and the settings; gives one `Guard` a condition. A rise above its margin withholds
a promotion, and breaks the guard when the whole 95 % interval lies above it. All must hold, so no correction for
their number is due. Does not decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from components.evaluation.bootstrap import quantile_difference
from components.evaluation.clustered import Clusters
from components.evaluation.paired import INVALID, UNSAFE, Pairs, accuracy_difference
from components.evaluation.rows import EvalRow
from components.evaluation.settings import GateSettings
from components.schema.report import Guard, Interval

P95 = 0.95
P95_COST, P95_SECONDS = "eval/p95_cost", "eval/p95_seconds"


def guards(
    pairs: Pairs, found: Mapping[str, Interval], settings: GateSettings, student: Sequence[EvalRow] = ()
) -> tuple[Guard, ...]:
    """Every guard that these rows can be held to."""
    rises = (
        ("invalid calls", found.get(INVALID), settings.invalid_margin, points),
        ("unsafe calls", found.get(UNSAFE), settings.unsafe_margin, per_problem),
        ("p95 cost", found.get(P95_COST), settings.p95_cost_margin, units),
        ("p95 seconds", found.get(P95_SECONDS), settings.p95_seconds_margin, seconds),
    )
    risen = [_rise(name, value, margin, shown) for name, value, margin, shown in rises if value is not None]
    return (*risen, *_slices(found, settings), *_student(pairs, student))


def percentiles(pairs: Pairs, settings: GateSettings) -> dict[str, Interval]:
    """Difference of the 95th percentiles of cost and of recorded seconds."""
    draws = {"seed": settings.seed, "resamples": settings.resamples}
    found = {}
    for name, field in ((P95_COST, "cost"), (P95_SECONDS, "seconds")):
        ours, theirs = ([float(getattr(row, field)) for row in rows] for rows in (pairs.challenger, pairs.champion))
        value = quantile_difference(ours, theirs, pairs.groups, P95, **draws)
        if value is not None:
            found[name] = value
    return found


def _rise(name: str, value: Interval, margin: float, shown: _Shown) -> Guard:
    state: _State = "holds"
    if value.value > margin:
        state = "broken" if value.low > margin else "unsure"
    return _guard(name, state, value, margin, f"{name} rise by {shown(value)}, allowed {_allowed(margin, shown)}")


def _slices(found: Mapping[str, Interval], settings: GateSettings) -> list[Guard]:
    guarded = []
    for key, value in found.items():
        if key.startswith("slice/") and value.n >= settings.minimum_slice_problems:
            name = key.split("/")[1]
            guarded.append(_slice(name, value, settings.slice_margins.get(name, settings.slice_margin), settings))
    return guarded


def _slice(name: str, value: Interval, margin: float, settings: GateSettings) -> Guard:
    state: _State = "holds"
    if value.high < -margin:
        state = "broken"
    elif settings.slice_rule == "proof" and value.low < -margin:
        state = "unsure"
    verb = "loses" if state == "broken" else "may lose more than allowed:"
    return _guard(
        f"slice {name}", state, value, margin, f"slice {name} {verb} {points(value)}, allowed {100 * margin:g}"
    )


def _student(pairs: Pairs, student: Sequence[EvalRow]) -> list[Guard]:
    """A challenger must beat the student of the same compute that only imitates its teacher's accepted samples."""
    if not student:
        return []
    against = Pairs.of(pairs.challenger, student)
    difference = accuracy_difference(against, Clusters.of(against.groups), np.ones(len(student)))
    if difference is None:
        return []
    value = difference.interval()
    state: _State = "holds" if value.low > 0 else "broken" if value.high < 0 else "unsure"
    return [_guard("student", state, value, 0.0, f"against the matched-compute student: {points(value)}")]


def _guard(name: str, state: _State, value: Interval, margin: float, reason: str) -> Guard:
    return Guard(name, state, value, margin, "" if state == "holds" else reason)


class _Shown:
    """How a figure is written."""

    def __init__(self, scale: float, unit: str, digits: int) -> None:
        self.scale, self.unit, self.digits = scale, unit, digits

    def __call__(self, value: Interval) -> str:
        at, low, high = (f"{self.scale * x:+.{self.digits}f}" for x in (value.value, value.low, value.high))
        return f"{at} {self.unit} ({low} to {high})"


def _allowed(margin: float, shown: _Shown) -> str:
    return f"{shown.scale * margin:g}"


_State = Literal["holds", "unsure", "broken"]
points = _Shown(100, "points", 1)
per_problem = _Shown(1, "a problem", 3)
units = _Shown(1, "units", 2)
seconds = _Shown(1, "s", 2)
