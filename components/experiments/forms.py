"""`forms`: the ways to learn from rewards against one another, and the default with its parts taken away one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.experiments.figures import Seeds, difference, level, present
from components.experiments.plan import UNGUARDED, Experiment, Found, Measured, Variant

WEIGHT = 0.1
DEFAULT = "policy_gradient"
FORMS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    DEFAULT: ("the default", {}),
    "actor_critic": ("mu(s): an actor that follows twin critics", {"reinforce.form": "actor_critic"}),
    "q_learning": ("Q(s, a), acting by its argmax", {"reinforce.form": "q_learning"}),
    "preference": (
        "preferred actions decide in place of returns",
        {"reinforce.preference_weight": 0.2, "reinforce.decision_weight": 0.0},
    ),
    "with preference": ("the default and preferred actions", {"reinforce.preference_weight": 0.2}),
}
ABLATIONS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "no likelihood": ("correctness alone", {"reward.likelihood_weight": 0.0}),
    "no correctness": ("likelihood of the reference alone", {"reward.correct_weight": 0.0}),
    "no price": ("calls are free", {"reward.price": 0.0}),
    "no malformed": ("failed calls cost their price only", {"reward.malformed_weight": 0.0}),
    "potential": ("likelihood as a potential", {"reward.likelihood_mode": "potential"}),
    "no queries": ("sampled arguments are not learnt", {"reinforce.argument_weight": 0.0}),
    "no decisions": ("decisions are not learnt", {"reinforce.decision_weight": 0.0}),
    "no references": ("answers are not learnt", {"reinforce.reference_weight": 0.0}),
    "no replay": ("nothing is replayed", {"reinforce.replay_weight": 0.0, "reinforce.kl_weight": 0.0}),
}


def analyse(found: Found) -> Sequence[Measured]:
    """Utility of every variant and its difference from the default's, then accuracy and cost."""
    usual = found[DEFAULT]
    others = [name for name in found if name != DEFAULT]
    return present(
        [
            *(_level(name, seeds, "eval/utility", "utility", scale=100.0) for name, seeds in found.items()),
            *(_difference(name, found[name], usual) for name in others),
            _difference("the clone", usual, usual, policy="clone"),
            *(_level(name, seeds, "eval/accuracy", "%", scale=100.0) for name, seeds in found.items()),
            *(_level(name, seeds, "eval/cost", "cost units") for name, seeds in found.items()),
        ]
    )


def _level(name: str, seeds: Seeds, metric: str, unit: str, *, scale: float = 1.0) -> Measured | None:
    what = metric.removeprefix("eval/")
    return level(f"{what}, {name}", seeds, "reinforced", metric=metric, cost_weight=WEIGHT, unit=unit, scale=scale)


def _difference(name: str, seeds: Seeds, usual: Seeds, *, policy: str = "reinforced") -> Measured | None:
    """The default is the best when no other is above it."""
    return difference(
        f"utility, {name} - the default",
        (seeds, policy),
        (usual, "reinforced"),
        metric="eval/utility",
        cost_weight=WEIGHT,
        unit="points",
        scale=100.0,
        bar="<= 0",
    )


FORMS_EXPERIMENT = Experiment(
    name="forms",
    claim="The default form is the best of the four, and each of its parts earns its place",
    variants=tuple(
        Variant(name, meaning, params={**UNGUARDED, **params})
        for name, (meaning, params) in {**FORMS, **ABLATIONS}.items()
    ),
    analyse=analyse,
)
