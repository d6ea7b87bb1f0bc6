"""`recipe`: the pipeline as it stands. Does each stage improve on the one before, on problems never trained on?"""

from __future__ import annotations

from collections.abc import Sequence

from components.evaluation.policies import COMPARISONS, in_order
from components.experiments.figures import Seeds, difference, level, present, unhurt
from components.experiments.plan import Experiment, Found, Measured, recipe

WEIGHT = 0.1
"""`reward.price` of the recipe; only utilities depend on it."""
UNHURT = ("chat", "compute")
"""Slices in which reinforcement has little to gain and must not lose."""
ABOVE, BELOW = "interval > 0", "interval < 0"
BARS = {
    ("clone", "base", "eval/accuracy"): ABOVE,
    ("reinforced", "clone", "eval/accuracy"): ABOVE,
    ("reinforced", "clone", "eval/cost_per_correct"): BELOW,
}


def analyse(found: Found) -> Sequence[Measured]:
    """Every policy's accuracy and cost, each model against the one before, and the slices that must not suffer."""
    seeds = found["recipe"]
    played = in_order(set.intersection(*(set(one.rows) for one in seeds.values())))
    return present(
        [
            *(level(f"accuracy, {p}", seeds, p, cost_weight=WEIGHT, unit="%", scale=100.0) for p in played),
            *(_cost(seeds, policy) for policy in played),
            *(
                _step(seeds, challenger, baseline, metric)
                for challenger, baseline in COMPARISONS
                for metric in ("eval/accuracy", "eval/cost_per_correct")
            ),
            *(unhurt(seeds, name, cost_weight=WEIGHT) for name in UNHURT),
        ]
    )


def _cost(seeds: Seeds, policy: str) -> Measured | None:
    name = f"cost per correct answer, {policy}"
    return level(name, seeds, policy, metric="eval/cost_per_correct", cost_weight=WEIGHT, unit="units")


def _step(seeds: Seeds, challenger: str, baseline: str, metric: str) -> Measured | None:
    accuracy = metric == "eval/accuracy"
    return difference(
        f"{challenger} - {baseline}, {'accuracy' if accuracy else 'cost per correct answer'}",
        (seeds, challenger),
        (seeds, baseline),
        metric=metric,
        cost_weight=WEIGHT,
        unit="points" if accuracy else "units",
        scale=100.0 if accuracy else 1.0,
        bar=BARS.get((challenger, baseline, metric)),
    )


RECIPE = Experiment(
    name="recipe",
    claim="Cloning beats the base model, and reinforcement beats the clone in accuracy and in cost per correct answer",
    variants=(recipe(),),
    analyse=analyse,
)
