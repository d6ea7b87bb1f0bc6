"""`nested`: questions of two hops, worked on flat or by calls inside calls, whose cost is rolled up or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.experiments.figures import Seeds, difference, level, present
from components.experiments.plan import Experiment, Found, Measured, Variant

FAMILY = "two_hop"
WEIGHT = 0.1
SHARED: Mapping[str, Any] = {
    "curate.weights": {"fact": 40, "number": 30, FAMILY: 150, "compute": 20, "chat": 30, "decoy": 15},
    "reinforce.query_families": [FAMILY, "fact", FAMILY, "number", "compute"],
    "reinforce.families": [FAMILY, "fact", FAMILY, "number", FAMILY, "chat"],
}
"""Enough questions of the family to tell a few points, and plays of it at every step."""
NESTED: Mapping[str, Any] = {"tools.composite": {"tools": ["delegate"]}}


def analyse(found: Found) -> Sequence[Measured]:
    """Accuracy, cost and cost per correct answer of the family: flat, delegating, delegating without roll-up."""
    flat, nested, apart = found["flat"], found["delegate"], found["not-rolled-up"]
    both = (("delegate", nested), ("not rolled up", apart))
    return present(
        [
            _difference("delegate - flat, accuracy", nested, flat, "eval/accuracy", "points", 100.0, ">= 0"),
            _difference(
                "delegate - flat, cost per correct", nested, flat, "eval/cost_per_correct", "cost", 1.0, "<= 0"
            ),
            _difference("delegate - not rolled up, cost", nested, apart, "eval/cost", "cost", 1.0, None),
            _difference("delegate - not rolled up, utility", nested, apart, "eval/utility", "points", 100.0, None),
            *(
                _level(f"{what}, {policy}, {name}", seeds, policy, metric, unit, scale)
                for name, seeds in (("flat", flat), *both)
                for policy in ("clone", "reinforced")
                for what, metric, unit, scale in _MEASURES
            ),
            *(_delegated(f"share of problems that begin with delegate, {name}", seeds) for name, seeds in both),
        ]
    )


_MEASURES = (
    ("accuracy", "eval/accuracy", "%", 100.0),
    ("cost per correct", "eval/cost_per_correct", "cost", 1.0),
    ("calls", "eval/calls", "calls", 1.0),
)


def _level(measure: str, seeds: Seeds, policy: str, metric: str, unit: str, scale: float) -> Measured | None:
    return level(measure, seeds, policy, metric=metric, only=FAMILY, cost_weight=WEIGHT, unit=unit, scale=scale)


def _difference(
    measure: str, ours: Seeds, theirs: Seeds, metric: str, unit: str, scale: float, bar: str | None
) -> Measured | None:
    return difference(
        f"{measure}, two hops",
        (ours, "reinforced"),
        (theirs, "reinforced"),
        metric=metric,
        only=FAMILY,
        cost_weight=WEIGHT,
        unit=unit,
        scale=scale,
        bar=bar,
    )


def _delegated(measure: str, seeds: Seeds) -> Measured | None:
    """Least and most of the seeds."""
    shares = []
    for played in seeds.values():
        rows = [row for row in played.rows["reinforced"] if FAMILY in row.slices]
        if rows:
            shares.append(sum(row.decision == "delegate" for row in rows) / len(rows))
    if not shares:
        return None
    mean = sum(shares) / len(shares)
    return Measured(measure, mean, min(shares), max(shares), "share", None, len(shares), len(seeds))


NESTED_EXPERIMENT = Experiment(
    name="nested",
    claim="On questions of two hops, calls inside calls solve at least as many at no more cost per correct answer",
    variants=(
        Variant("flat", "all calls side by side", params=SHARED),
        Variant("delegate", "calls inside calls, their cost rolled up to the caller", params={**SHARED, **NESTED}),
        Variant(
            "not-rolled-up",
            "the same, but what a nested call spends costs its caller nothing in the reward",
            params={**SHARED, **NESTED, "reward.nested_costs": False},
        ),
    ),
    analyse=analyse,
)
