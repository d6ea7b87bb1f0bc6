"""`frontier`: one model that is told its price against models trained anew for each price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from components.evaluation.policies import told_policy
from components.evaluation.rows import EvalRow
from components.experiments.curves import Point, curves
from components.experiments.figures import Seeds, difference, level, pooled, present, statistic
from components.experiments.headline import headline
from components.experiments.plan import UNGUARDED, Experiment, Found, Measured, Variant

PRICES = (0.0, 0.1, 0.3, 0.6)
"""lambda: from calls that are free to calls that cost more than half a correct answer."""
MODEL = "reinforced"


def analyse(found: Found) -> Sequence[Measured]:
    """At every price: utility of the one model less that of the model trained for it, then accuracy and cost of both;
    over all prices the mean; and how far the one model moves from the lowest price to the highest."""
    one = found["one"]
    anew = {price: found[_anew(price)] for price in PRICES}
    return present(
        [
            _mean_difference(one, anew, bar=">= -2"),
            *(_difference(one, anew[price], price, bar=">= -2") for price in PRICES),
            _moved(one),
            *(row for price in PRICES for row in _levels(one, anew[price], price)),
            *headline(one, told_policy(MODEL, PRICES[-1]), "clone", cost_weight=PRICES[-1]),
        ]
    )


def _anew(price: float) -> str:
    return f"anew-{price:g}"


def _difference(one: Seeds, anew: Seeds, price: float, *, bar: str) -> Measured | None:
    return difference(
        f"utility at lambda {price:g}: one model told it - a model trained for it",
        (one, told_policy(MODEL, price)),
        (anew, MODEL),
        metric="eval/utility",
        cost_weight=price,
        unit="points",
        scale=100.0,
        bar=bar,
    )


def _mean_difference(one: Seeds, anew: Mapping[float, Seeds], *, bar: str) -> Measured | None:
    """The mean over all prices, problem by problem, of those that every model played and that could be judged."""
    told = {price: _utilities(pooled(one, told_policy(MODEL, price)), price) for price in PRICES}
    trained = {price: _utilities(pooled(anew[price], MODEL), price) for price in PRICES}
    keys = sorted(set.intersection(*(set(table) for table in (*told.values(), *trained.values()))))
    groups = {row.problem_id: row.group for row in pooled(one, told_policy(MODEL, PRICES[0]))}
    gaps = np.array([np.mean([told[price][key] - trained[price][key] for price in PRICES]) for key in keys])
    return statistic(
        "mean utility over all lambdas: one model - models trained for each",
        [groups[key] for key in keys],
        lambda weights: 100.0 * float((weights * gaps).sum() / weights.sum()),
        unit="points",
        bar=bar,
        seeds=len(one),
    )


def _utilities(rows: Sequence[EvalRow], price: float) -> dict[str, float]:
    return {row.problem_id: float(row.success) - price * row.cost for row in rows if row.success is not None}


def _moved(one: Seeds) -> Measured | None:
    return difference(
        f"cost a problem of the one model, told {PRICES[0]:g} - told {PRICES[-1]:g}",
        (one, told_policy(MODEL, PRICES[0])),
        (one, told_policy(MODEL, PRICES[-1])),
        metric="eval/cost",
        cost_weight=0.0,
        unit="cost units",
    )


def _levels(one: Seeds, anew: Seeds, price: float) -> list[Measured | None]:
    rows: list[Measured | None] = []
    for who, seeds, policy in (("one model told", one, told_policy(MODEL, price)), ("trained for", anew, MODEL)):
        name = f"{who} lambda {price:g}"
        rows.append(level(f"accuracy, {name}", seeds, policy, cost_weight=price, unit="%", scale=100.0))
        rows.append(level(f"cost, {name}", seeds, policy, metric="eval/cost", cost_weight=price, unit="cost units"))
    return rows


def draw(found: Found) -> str:
    """Accuracy over cost: the one model under every price, and the models trained for each."""
    told = [(found["one"], told_policy(MODEL, price), price) for price in PRICES]
    anew = [(found[_anew(price)], MODEL, price) for price in PRICES]
    series = {"one model, told its price": told, "a model trained for each price": anew}
    return curves(
        FRONTIER.claim,
        {name: [_point(*one) for one in models] for name, models in series.items()},
        across="cost a problem, units of the price sheet",
        up="accuracy, %",
    )


def _point(seeds: Seeds, policy: str, price: float) -> Point:
    rows = pooled(seeds, policy)
    judged = [row.success for row in rows if row.success is not None]
    accuracy = 100.0 * sum(judged) / max(1, len(judged))
    return sum(row.cost for row in rows) / max(1, len(rows)), accuracy, f"{price:g}"


FRONTIER = Experiment(
    name="frontier",
    claim="One model that is told its price walks the frontier of accuracy and cost of models trained for each price",
    variants=(
        Variant(
            "one",
            "one model, told its price",
            params={**UNGUARDED, "reinforce.price_conditioned": list(PRICES), "evaluate.prices": list(PRICES)},
        ),
        *(Variant(_anew(p), f"trained at lambda {p:g} alone", params={**UNGUARDED, "reward.price": p}) for p in PRICES),
    ),
    analyse=analyse,
    draw=draw,
)
