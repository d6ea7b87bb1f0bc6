"""Figures as people read them.

Takes intervals and metric names; gives short strings for the terminal and the HTML report. Does not compute figures.
"""

from __future__ import annotations

from components.schema.report import Interval

SHARES = ("eval/accuracy", "eval/decision_accuracy", "eval/invalid_rate")
"""Metrics shown in per cent; their differences are points."""
LABELS = {
    "eval/accuracy": "Accuracy, %",
    "eval/calls": "Calls",
    "eval/cost": "Cost",
    "eval/cost_per_correct": "Cost per correct",
    "eval/utility": "Utility",
    "eval/decision_accuracy": "Decision accuracy, %",
    "eval/decision_regret": "Decision regret",
    "eval/invalid_rate": "Invalid calls, %",
}
MISSING = "–"


def is_share(metric: str) -> bool:
    """True when the metric is shown in per cent."""
    return metric in SHARES or metric.endswith("/accuracy")


def figure(metric: str, found: Interval | None) -> str:
    """The figure alone, e.g. `92.1` or `0.84`."""
    return MISSING if found is None else _number(metric, found.value)


def bounds(metric: str, found: Interval | None) -> str:
    """The interval alone, e.g. `90.3 to 93.7`; empty when there is no figure."""
    return "" if found is None else f"{_number(metric, found.low)} to {_number(metric, found.high)}"


def difference(metric: str, found: Interval) -> str:
    """A signed difference, e.g. `+11.4 points` or `-0.21`."""
    return f"{_number(metric, found.value, sign='+')}{' points' if is_share(metric) else ''}"


def difference_bounds(metric: str, found: Interval) -> str:
    """The interval of a difference, signed."""
    return f"{_number(metric, found.low, sign='+')} to {_number(metric, found.high, sign='+')}"


def clear_of_zero(found: Interval | None) -> int:
    """1 when the interval lies above zero, -1 when below, else 0."""
    if found is None:
        return 0
    return int(found.low > 0) - int(found.high < 0)


def _number(metric: str, value: float, *, sign: str = "") -> str:
    scaled, digits = (100 * value, 1) if is_share(metric) else (value, 2 if abs(value) < 10 else 1)
    text = f"{scaled:{sign}.{digits}f}"
    return text.replace("-", "−") if any(digit in "123456789" for digit in text) else text.lstrip("+-")
