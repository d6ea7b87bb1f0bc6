"""`normaliser`: what dividing by a group's standard deviation does to calls that cost, on the same data and lambda."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.evaluation.bootstrap import Floats
from components.evaluation.oracle import call_needed
from components.evaluation.summary import forced_branches
from components.experiments.curves import Point, curves
from components.experiments.figures import Seeds, level, present, statistic
from components.experiments.plan import UNGUARDED, Experiment, Found, Measured, Variant
from components.schema.trajectory import ANSWER

LAMBDA = 0.03
STRETCHES = 4
"""Parts of the run whose call rates are told apart."""
HARD = ("two_hop", "puzzle", "fact_compute")
"""Families that one call hardly ever solves: in most groups only the cost differs."""
SHARED: Mapping[str, Any] = {
    "tools.engine": "natural",  # the clone's queries work, so that decisions alone are at issue
    "reward.price": LAMBDA,
    "reinforce.decision_start": 0.0,
    **UNGUARDED,
}
STANDARD: Mapping[str, Any] = {"reinforce.normaliser": "group_std", "reinforce.allow_group_std": True}
RECALL = "rollout/call_recall"
RATE = "rollout/call_rate"


def analyse(found: Found) -> Sequence[Measured]:
    """Held-out call recall of all four runs and the one normaliser's over the other's; call rates over the steps."""
    rows: list[Measured | None] = []
    for data in ("usual", "hard"):
        ours, theirs = found[f"ours-{data}"], found[f"group_std-{data}"]
        rows.append(_recall(f"call recall, held out, none divided, {data} data", ours, bar=None))
        rows.append(_recall(f"call recall, held out, divided by group std, {data} data", theirs, bar=None))
        rows.append(_ratio(f"call recall, divided over not divided, {data} data", theirs, ours, data))
    for name, seeds in found.items():
        for metric in (RATE, RECALL):
            rows += _over_steps(name, seeds, metric)
        rows.append(level(f"accuracy, {name}", seeds, "reinforced", cost_weight=LAMBDA, unit="%", scale=100.0))
    return present(rows)


def _called(seeds: Seeds) -> dict[str, tuple[str, float]]:
    """Of the held-out problems that need a call (the direct answer is wrong, a call makes it right): group, called."""
    found = {}
    for seed, played in seeds.items():
        branches = forced_branches(played.rows)
        for row in played.rows["reinforced"]:
            if call_needed(branches.get(row.problem_id, {})):
                found[f"{row.problem_id}/{seed}"] = (row.group, float(row.decision != ANSWER))
    return found


def _recall(measure: str, seeds: Seeds, *, bar: str | None) -> Measured | None:
    called = _called(seeds)
    made = np.array([call for _, call in called.values()])
    return statistic(
        measure,
        [group for group, _ in called.values()],
        lambda weights: float((weights * made).sum() / weights.sum()),
        unit="recall",
        bar=bar,
        seeds=len(seeds),
    )


def _ratio(measure: str, theirs: Seeds, ours: Seeds, data: str) -> Measured | None:
    """On the problems that need a call under both; the claim is that on hard data at most half of it is left."""
    tables = _called(theirs), _called(ours)
    keys = sorted(tables[0].keys() & tables[1].keys())
    divided, free = (np.array([table[key][1] for key in keys]) for table in tables)

    def ratio(weights: Floats) -> float:
        whole = float((weights * free).sum())
        return float((weights * divided).sum()) / whole if whole > 0 else float("nan")

    groups = [tables[0][key][0] for key in keys]
    return statistic(measure, groups, ratio, unit="x", bar="<= 0.5" if data == "hard" else None, seeds=len(theirs))


def _over_steps(name: str, seeds: Seeds, metric: str) -> list[Measured | None]:
    """Mean of the metric over each stretch of the run; least and most of the seeds."""
    rows: list[Measured | None] = []
    for stretch in range(STRETCHES):
        means = [mean for played in seeds.values() if (mean := _mean(played.steps, metric, stretch)) is not None]
        if means:
            what = f"{metric.removeprefix('rollout/').replace('_', ' ')}, {name}, part {stretch + 1} of {STRETCHES}"
            value = float(np.mean(means))
            rows.append(Measured(what, value, min(means), max(means), "over steps", None, len(means), len(seeds)))
    return rows


def _mean(steps: Sequence[Mapping[str, float]], metric: str, stretch: int) -> float | None:
    first, stop = (len(steps) * (stretch + more) // STRETCHES for more in (0, 1))
    known = [step[metric] for step in steps[first:stop] if metric in step]
    return float(np.mean(known)) if known else None


def draw(found: Found) -> str:
    """The call rate over the steps of every run, the mean of the seeds."""
    return curves(
        NORMALISER.claim,
        {name: _rates(seeds) for name, seeds in found.items()},
        across="step",
        up="share of judged roots where a call is likeliest",
    )


def _rates(seeds: Seeds) -> list[Point]:
    runs = [[step.get(RATE) for step in played.steps] for played in seeds.values()]
    told = [[rate for rate in rates if rate is not None] for rates in zip(*runs, strict=False)]
    return [(float(step), float(np.mean(rates)), "") for step, rates in enumerate(told, start=1) if rates]


def _variant(name: str, meaning: str, *parts: Mapping[str, Any]) -> Variant:
    params = {key: value for part in (SHARED, *parts) for key, value in part.items()}
    return Variant(name, meaning, params=params, forced=True)


_HARD_DATA = {"reinforce.families": list(HARD)}
NORMALISER = Experiment(
    name="normaliser",
    claim="Divided by a group's standard deviation, a small price ends in no calls where most groups fail; not so ours",
    variants=(
        _variant("ours-usual", "leave-one-out and values as they are"),
        _variant("group_std-usual", "both divided by the group's standard deviation", STANDARD),
        _variant("ours-hard", "as they are, judged on families that one call hardly ever solves", _HARD_DATA),
        _variant("group_std-hard", "divided, on the same", STANDARD, _HARD_DATA),
    ),
    analyse=analyse,
    draw=draw,
)
