"""`hidden_answer`: nobody says when to call. What is left of the gain when decisions come from references alone?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from components.evaluation.bootstrap import Floats
from components.experiments.figures import Seeds, difference, level, pooled, present, statistic
from components.experiments.plan import UNGUARDED, Experiment, Found, Measured, Variant, recipe

WEIGHT = 0.1


def analyse(found: Found) -> Sequence[Measured]:
    """The share of the full recipe's gain over the base model, in utility and accuracy; levels of all."""
    full, hidden = found["full"], found["hidden"]
    policies = (("base model", full, "base"), ("format only", hidden, "clone"), ("hidden", hidden, "reinforced"))
    return present(
        [
            _share("share of the full recipe's gain in utility", full, hidden, price=WEIGHT),
            _share("share of the full recipe's gain in accuracy", full, hidden, price=0.0),
            *(
                level(
                    f"{what}, {name}", seeds, policy, metric=f"eval/{what}", cost_weight=WEIGHT, unit="%", scale=100.0
                )
                for name, seeds, policy in (*policies, ("full recipe", full, "reinforced"))
                for what in ("utility", "accuracy")
            ),
            *(
                level(f"calls, {name}", seeds, policy, metric="eval/calls", cost_weight=WEIGHT, unit="calls")
                for name, seeds, policy in (*policies, ("full recipe", full, "reinforced"))
            ),
            difference(
                "hidden - format only, utility",
                (hidden, "reinforced"),
                (hidden, "clone"),
                metric="eval/utility",
                cost_weight=WEIGHT,
                unit="points",
                scale=100.0,
                bar=">= 0",
            ),
        ]
    )


def _share(measure: str, full: Seeds, hidden: Seeds, *, price: float) -> Measured | None:
    """(hidden - base) / (full - base), the same problems."""
    tables = [
        _utilities(seeds, who, price) for seeds, who in ((full, "base"), (hidden, "reinforced"), (full, "reinforced"))
    ]
    keys = sorted(set.intersection(*(set(table) for table in tables)))
    base, ours, whole = (np.array([table[key] for key in keys]) for table in tables)
    groups = {row.problem_id: row.group for row in pooled(full, "base")}

    def share(weights: Floats) -> float:
        gain = float((weights * (whole - base)).sum())
        return float((weights * (ours - base)).sum()) / gain if gain > 0 else float("nan")

    return statistic(measure, [groups[key] for key in keys], share, unit="", bar=None, seeds=len(full))


def _utilities(seeds: Seeds, policy: str, price: float) -> dict[str, float]:
    rows = [row for row in pooled(seeds, policy) if row.success is not None]
    return {row.problem_id: float(bool(row.success)) - price * row.cost for row in rows}


HIDDEN_ANSWER = Experiment(
    name="hidden_answer",
    claim="Without one label for a decision, references alone teach when to call",
    variants=(
        recipe("full", "the full recipe"),
        Variant(
            "hidden",
            "the clone learns how a call and an answer are written, never when to call; then references alone",
            params={
                **UNGUARDED,
                "clone.decision_weight": 0.0,  # format only: arguments and answers given that they are written
                "reinforce.replay_weight": 0.0,  # replayed demonstrations hold decisions, too
                "reinforce.decision_start": 0.4,
                "reinforce.decision_weight": 1.0,  # the base model's P(call) is near 0, and has further to go
            },
        ),
    ),
    analyse=analyse,
)
