"""`boundary`: does RL learn what the model itself knows, though every annotation looks up? At lambda 0.3, on facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.evaluation.bootstrap import Floats
from components.evaluation.oracle import branches_of, oracle_rows
from components.evaluation.rows import EvalRow
from components.experiments.figures import (
    Seeds,
    area_under_curve,
    level,
    pooled,
    present,
    statistic,
    unhurt,
)
from components.experiments.headline import headline
from components.experiments.plan import Experiment, Found, Measured, Variant
from components.schema.trajectory import ANSWER

LAMBDA = 0.3
FAMILY = "fact"


def analyse(found: Found) -> Sequence[Measured]:
    """AUC of P(answer) against "the direct answer is correct", the gap closed, every slice against the clone, and the
    headline in OTC-PO's terms."""
    seeds = found["priced"]
    slices = sorted({name for played in seeds.values() for row in played.rows["clone"] for name in row.slices})
    return present(
        [
            _area(seeds, bar=">= 0.80"),
            _gap_closed(seeds, bar=">= 0.40"),
            *(_calls(seeds, policy) for policy in ("clone", "reinforced")),
            *(unhurt(seeds, name, cost_weight=LAMBDA) for name in slices),
            *headline(seeds, "reinforced", "clone", cost_weight=LAMBDA),
        ]
    )


def _area(seeds: Seeds, *, bar: str) -> Measured | None:
    scores, positive, groups = [], [], []
    for played in seeds.values():
        direct = {row.problem_id: row for row in played.rows["never-call"]}
        for trajectory in played.trajectories:
            row = direct.get(trajectory.problem_id)
            free = trajectory.policy_id == "reinforced" and not trajectory.forced
            probs = trajectory.transitions[0].action.decision_probs if free and trajectory.transitions else None
            if probs is None or row is None or row.success is None or FAMILY not in row.slices:
                continue
            scores.append(probs[ANSWER])
            positive.append(float(row.success))
            groups.append(row.group)
    scores_P, positive_P = np.array(scores), np.array(positive)
    return statistic(
        "AUC of P(answer) against 'the direct answer is correct', fact",
        groups,
        lambda weights: area_under_curve(scores_P, positive_P, weights),
        unit="",
        bar=bar,
        seeds=len(seeds),
    )


def _gap_closed(seeds: Seeds, *, bar: str) -> Measured | None:
    """(reinforced - always-search) / (oracle - always-search) in utility, fact."""
    ours = pooled(seeds, "reinforced", only=FAMILY)
    always = {row.problem_id: row for row in pooled(seeds, "always-search", only=FAMILY)}
    branches = branches_of({ANSWER: pooled(seeds, "never-call"), "search": list(always.values())})
    best = {row.problem_id: row for row in oracle_rows(branches, list(always), LAMBDA)}
    judged = [row for row in ours if row.problem_id in always and row.problem_id in best]
    utility = {
        name: np.array([_utility(table[row.problem_id]) for row in judged])
        for name, table in {"always": always, "best": best}.items()
    }
    mine = np.array([_utility(row) for row in judged])

    def closed(weights: Floats) -> float:
        room = float((weights * (utility["best"] - utility["always"])).sum())
        return float((weights * (mine - utility["always"])).sum()) / room if room > 0 else float("nan")

    return statistic(
        "share of the utility gap between always-search and the oracle that is closed, fact",
        [row.group for row in judged],
        closed,
        unit="",
        bar=bar,
        seeds=len(seeds),
    )


def _utility(row: EvalRow) -> float:
    return float(bool(row.success)) - LAMBDA * row.cost


def _calls(seeds: Seeds, policy: str) -> Measured | None:
    name = f"calls a problem, fact, {policy}"
    return level(name, seeds, policy, metric="eval/calls", only=FAMILY, cost_weight=LAMBDA, unit="calls")


FACTS: Mapping[str, Any] = {
    "reward.price": LAMBDA,
    # questions enough about what the claim is about: more of a family, rather than more epochs of a few
    "curate.train_size": 2880,
    "curate.weights": {
        "fact": 200,
        "number": 40,
        "two_hop": 10,
        "compute": 30,
        "fact_compute": 5,
        "chat": 40,
        "decoy": 10,
        "puzzle": 5,
    },
    "reinforce.families": ["fact", "number", "fact", "compute", "fact", "chat", "fact", "decoy", "fact", "fact"],
    # the annotators' engine, so that the clone's queries work and decisions alone are at issue: on the other one, at
    # this price, no call pays until the queries are relearnt
    "tools.engine": "natural",
    "clone.steps": 56,
    # more than the clone has steps for; the other problems are there to be judged
    "curate.most_demonstrations": 960,
    # its own answers that are right and no others: most wrong ones are empty rather than ignorant ("the money used in
    # France is a topic of debate"), and a model that answers where it knows has more to leave calls for
    "clone.direct_answers": "right",
    # a few steps of queries, then decisions by weights of their own, fitted to twenty times the recipe's judged roots:
    # steps of the shared weights turned all decisions to "answer" at once, and the guard ended the run. The head reads
    # the answer's draft: what the model knows shows in its own words, the question tells little of it
    "reinforce.steps": 16,
    "reinforce.learning_rate": 5e-5,
    "reinforce.decision_start": 0.75,
    "reinforce.decisions": "draft",
    "reinforce.judged": 1920,
}
"""The recipe with its attention on facts."""
BOUNDARY = Experiment(
    name="boundary",
    claim="RL learns what the model itself knows: it stops looking up facts that it answers alone and keeps the rest",
    variants=(Variant("priced", f"the recipe at lambda {LAMBDA}, mostly facts", params=FACTS, forced=True),),
    analyse=analyse,
)
