"""`engine_swap`: annotations written for one search engine, another one deployed; RL adapts without a new label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from components.evaluation.bootstrap import Floats
from components.experiments.figures import Seeds, difference, level, pooled, present, statistic
from components.experiments.plan import Experiment, Found, Measured, Variant, recipe

FAMILIES = ("fact", "number")
"""Families whose answers are looked up: what an engine can take away."""
WEIGHT = 0.1
TERSE = "seed-script/carl"
"""The annotator who writes terse queries."""


def analyse(found: Found) -> Sequence[Measured]:
    """Accuracy before the swap, after it, and after RL; the share of the loss that came back; the controls."""
    before, after, unseeded = found["before"], found["swapped"], found["unseeded"]
    return present(
        [
            *(_level(f"clone under the annotators' engine, {f}", before, "clone", f) for f in FAMILIES),
            *(_level(f"clone under the deployed engine, {f}", after, "clone", f) for f in FAMILIES),
            *(_level(f"reinforced under the deployed engine, {f}", after, "reinforced", f) for f in FAMILIES),
            _recovered("share of the lost accuracy recovered", before, after, bar=">= 0.80"),
            _recovered("the same without a terse query in any annotation", before, unseeded, bar=None),
            *(_gain(f"reinforced - clone, {f}", after, f) for f in FAMILIES),
            *(_gain(f"reinforced - clone, {f}, no terse query annotated", unseeded, f) for f in FAMILIES),
            *(
                _level(f"supervised control: a clone of terse annotations, {f}", found["supervised"], "clone", f)
                for f in FAMILIES
            ),
        ]
    )


def _level(measure: str, seeds: Seeds, policy: str, family: str) -> Measured | None:
    return level(measure, seeds, policy, only=family, cost_weight=WEIGHT, unit="%", scale=100.0)


def _gain(measure: str, seeds: Seeds, family: str) -> Measured | None:
    return difference(
        measure, (seeds, "reinforced"), (seeds, "clone"), only=family, cost_weight=WEIGHT, unit="points", scale=100.0
    )


def _recovered(measure: str, before: Seeds, after: Seeds, *, bar: str | None) -> Measured | None:
    """(reinforced - clone) / (clone before the swap - clone after it), fact and number together, same problems."""
    tables = [
        {row.problem_id: row for family in FAMILIES for row in pooled(seeds, policy, only=family)}
        for seeds, policy in ((before, "clone"), (after, "clone"), (after, "reinforced"))
    ]
    shared = sorted(set.intersection(*(set(table) for table in tables)))
    was, lost, regained = (np.array([float(bool(table[i].success)) for i in shared]) for table in tables)

    def share(weights: Floats) -> float:
        loss = float((weights * (was - lost)).sum())
        return float((weights * (regained - lost)).sum()) / loss if loss > 0 else float("nan")

    groups = [tables[0][i].group for i in shared]
    return statistic(measure, groups, share, unit="", bar=bar, seeds=len(after))


ENGINE_SWAP = Experiment(
    name="engine_swap",
    claim="After a change of the search engine, RL recovers what the clone lost, without one new label",
    variants=(
        Variant("before", "the annotators' engine deployed", last="clone", params={"tools.engine": "natural"}),
        recipe("swapped", "another engine deployed"),
        Variant("unseeded", "no terse query in any annotation", params={"curate.left_out_annotators": [TERSE]}),
        Variant(
            "supervised",
            "only terse annotations",
            last="clone",
            params={"curate.left_out_annotators": [f"seed-script/{name}" for name in ("alice", "bob", "dora")]},
        ),
    ),
    analyse=analyse,
)
