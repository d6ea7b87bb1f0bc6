"""`decoys`: misleading pages. How many wrong answers do they cause, before and after reinforcement?

Twice: with the recipe as it is, and on the engine that the annotators had. On the recipe's engine the clone's queries
find nothing, and who reads no page is misled by none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.evaluation.bootstrap import Floats
from components.experiments.figures import Seeds, level, present, statistic
from components.experiments.plan import Experiment, Found, Measured, Variant, recipe
from components.schema.trajectory import Trajectory

DECOY = "decoy"
MARK = "decoy-"
"""How ids of decoy passages begin."""
WEIGHT = 0.1


def analyse(found: Found) -> Sequence[Measured]:
    """Wrong answers after a decoy was read, a problem of the slice: clone, reinforced, and the one over the other."""
    return [
        *_rows(found["recipe"], ("clone", "reinforced", "final"), ""),
        *_rows(found["misled"], ("clone", "reinforced"), ", annotators' engine"),
    ]


def _rows(seeds: Seeds, policies: Sequence[str], where: str) -> Sequence[Measured]:
    misled = {policy: _misled(seeds, policy) for policy in ("clone", "reinforced")}
    groups = {row.problem_id: row.group for played in seeds.values() for row in played.rows["clone"]}
    keys = sorted(misled["clone"].keys() & misled["reinforced"].keys())
    clone, ours = (np.array([misled[policy][key] for key in keys]) for policy in ("clone", "reinforced"))

    def ratio(weights: Floats) -> float:
        before = float((weights * clone).sum())
        return float((weights * ours).sum()) / before if before > 0 else float("nan")

    def share(of: Floats) -> Measured | None:
        name = "clone" if of is clone else "reinforced"
        return statistic(
            f"wrong answers after reading a decoy, {name}{where}",
            [groups[key[0]] for key in keys],
            lambda weights: float((weights * of).sum() / weights.sum()),
            unit="of decoy problems",
            bar=None,
            seeds=len(seeds),
        )

    return present(
        [
            share(clone),
            share(ours),
            statistic(
                f"wrong answers caused by decoys, reinforced over clone{where}",
                [groups[key[0]] for key in keys],
                ratio,
                unit="x",
                bar="<= 0.5",
                seeds=len(seeds),
            ),
            *(
                level(f"accuracy, decoy, {p}{where}", seeds, p, only=DECOY, cost_weight=WEIGHT, unit="%", scale=100.0)
                for p in policies
            ),
        ]
    )


def _misled(seeds: Seeds, policy: str) -> Mapping[tuple[str, int], float]:
    """1 for problems of the decoy slice that were answered wrongly after a decoy was among the results, else 0."""
    found = {}
    for seed, played in seeds.items():
        judged = {row.problem_id: row for row in played.rows[policy] if DECOY in row.slices}
        for trajectory in played.trajectories:
            row = judged.get(trajectory.problem_id)
            if row is not None and trajectory.policy_id == policy and not trajectory.forced:
                found[row.problem_id, seed] = float(row.success is False and _read_decoy(trajectory))
    return found


def _read_decoy(trajectory: Trajectory) -> bool:
    return any(
        source.startswith(MARK)
        for transition in trajectory.transitions
        for result in transition.results
        for source in result.source_ids
    )


MISLED: Mapping[str, Any] = {
    "tools.engine": "natural",
    "curate.train_size": 750,
    "curate.test_size": 225,
    "curate.weights": {
        "decoy": 160,
        "fact": 60,
        "number": 60,
        "compute": 30,
        "chat": 30,
        "two_hop": 20,
        "fact_compute": 10,
        "puzzle": 5,
    },
    "reinforce.query_families": ["decoy", "fact", "decoy", "number"],
    # what a decoy does is seen in the answer: it is taught more of them, and not only those that were right already
    "reinforce.references": 24,
    "reinforce.reference_weight": 0.5,
}
"""The recipe with its attention on what is contradicted."""
DECOYS = Experiment(
    name="decoys",
    claim="Reinforcement at least halves the wrong answers that misleading pages cause",
    variants=(recipe(), Variant("misled", "annotators' engine, mostly contradicted facts", params=MISLED)),
    analyse=analyse,
)
