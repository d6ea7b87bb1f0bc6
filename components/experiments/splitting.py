"""`splitting`: tasks of several parts, worked on whole, split once up front, or split whenever something was learnt.

Each is taught what it may do: the two that split see demonstrations of it and are reinforced with it on offer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.experiments.figures import Only, Seeds, difference, level, present
from components.experiments.plan import Experiment, Found, Measured, Variant

PARTS = ("two_hop", "fact_compute")
"""Families whose problems consist of several."""
WEIGHT = 0.1
SHARED: Mapping[str, Any] = {
    "curate.weights": {"fact": 40, "number": 30, "two_hop": 90, "fact_compute": 60, "compute": 30, "chat": 20},
    "reinforce.query_families": ["two_hop", "fact_compute", "fact", "number", "compute"],
    "reinforce.families": ["two_hop", "fact_compute", "two_hop", "fact", "fact_compute", "chat"],
}
"""Enough questions of these families to tell a few points, and plays of them at every step."""


def analyse(found: Found) -> Sequence[Measured]:
    """Accuracy and cost per correct answer, way against way, and how often a task is split at all."""
    pairs = (("dynamic", "static"), ("dynamic", "flat"), ("static", "flat"))
    names: tuple[tuple[str, Only], ...] = ((" + ".join(PARTS), PARTS), *((name, name) for name in PARTS))
    return present(
        [
            *(
                _solved(found, way, other, name, only, ">= 0" if way == "dynamic" and only == PARTS else None)
                for way, other in pairs
                for name, only in names
            ),
            *(
                difference(
                    f"{way} - {other}, cost per correct, {' + '.join(PARTS)}",
                    (found[way], "reinforced"),
                    (found[other], "reinforced"),
                    metric="eval/cost_per_correct",
                    only=PARTS,
                    cost_weight=WEIGHT,
                    unit="cost",
                )
                for way, other in pairs
            ),
            *(
                level(
                    f"accuracy, {policy}, {way}",
                    found[way],
                    policy,
                    only=PARTS,
                    cost_weight=WEIGHT,
                    unit="%",
                    scale=100,
                )
                for way in ("flat", "static", "dynamic")
                for policy in ("clone", "reinforced")
            ),
            *(_split(way, found[way]) for way in ("static", "dynamic")),
        ]
    )


def _solved(found: Found, way: str, other: str, name: str, only: Only, bar: str | None) -> Measured | None:
    return difference(
        f"{way} - {other}, accuracy, {name}",
        (found[way], "reinforced"),
        (found[other], "reinforced"),
        only=only,
        cost_weight=WEIGHT,
        unit="points",
        scale=100.0,
        bar=bar,
    )


def _split(way: str, seeds: Seeds) -> Measured | None:
    """Least and most of the seeds."""
    shares = []
    for played in seeds.values():
        decisions = [row.decision for row in played.rows["reinforced"] if set(PARTS) & set(row.slices)]
        if decisions:
            shares.append(decisions.count("split") / len(decisions))
    if not shares:
        return None
    mean = sum(shares) / len(shares)
    name = f"share of problems that begin with a split, {way}"
    return Measured(name, mean, min(shares), max(shares), "share", None, len(shares), len(seeds))


def _splitting(way: str) -> Mapping[str, Any]:
    return {**SHARED, "tools.composite": {"tools": ["split", "give_up"], "splitting": way}}


SPLITTING = Experiment(
    name="splitting",
    claim="Tasks of several parts are solved at least as often by those who may split them at any time",
    variants=(
        Variant("flat", "no split on offer", params=SHARED),
        Variant("static", "a split once, before anything else", params=_splitting("static")),
        Variant("dynamic", "a split at any time, of sub-tasks too", params=_splitting("dynamic")),
    ),
    analyse=analyse,
)
