"""Figures of experiments: pooled over seeds, paired by problem, with the intervals of the groups behind them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import evaluation_records as made
import numpy as np
import pytest

from components.evaluation.policies import Play, plan
from components.evaluation.rows import EvalRow
from components.experiments.catalogue import EXPERIMENTS
from components.experiments.figures import area_under_curve, difference, level, pooled
from components.experiments.picture import meets, picture
from components.experiments.plan import Measured, Played, Variant
from components.schema.problem import Problem
from components.schema.trajectory import Trajectory
from components.search.trial import Attempt


def row(policy: str, number: int, success: bool, *, group: str | None = None, slices: tuple[str, ...] = ()) -> EvalRow:
    return EvalRow(policy, f"p{number}", group or f"g{number}", slices, success, 1, 1.0, 1, 0, "search", "x")


def played(clone: list[bool], reinforced: list[bool], **kinds: tuple[str, ...]) -> Played:
    slices = kinds.get("slices", ())
    both = {"clone": clone, "reinforced": reinforced}
    rows = {p: tuple(row(p, n, ok, slices=slices) for n, ok in enumerate(oks)) for p, oks in both.items()}
    return Played(rows=rows, trajectories=(), steps=())


def test_a_problem_counts_once_a_seed_and_its_group_once() -> None:
    seeds = {0: played([False] * 10, [True] * 10), 1: played([False] * 10, [False] * 10)}
    assert len(pooled(seeds, "clone")) == 20
    found = difference("d", (seeds, "reinforced"), (seeds, "clone"), cost_weight=0.1, unit="points", scale=100.0)
    assert found is not None
    assert (found.value, found.n, found.seeds) == (50.0, 20, 2)
    assert found.low == found.high == 50.0, "every group has the same difference, whatever seeds disagree about"


def test_a_slice_that_nobody_played_gives_no_row() -> None:
    seeds = {0: played([True], [True], slices=("fact",))}
    assert level("a", seeds, "clone", only="chat", cost_weight=0.1, unit="%") is None
    there = level("a", seeds, "clone", only="fact", cost_weight=0.1, unit="%", scale=100.0)
    assert there is not None
    assert there.value == 100.0


def test_the_area_under_the_curve_is_the_share_of_ordered_pairs() -> None:
    draw = random.Random(3)
    scores = np.array([draw.choice([0.1, 0.2, 0.5, 0.9]) for _ in range(60)])
    positive = np.array([float(draw.random() < 0.4) for _ in range(60)])
    weights = np.array([float(draw.randint(0, 3)) for _ in range(60)])
    pairs = [
        (weights[i] * weights[j], 1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0)
        for i in range(60)
        for j in range(60)
        if positive[i] and not positive[j]
    ]
    slow = sum(w * s for w, s in pairs) / sum(w for w, _ in pairs)
    assert area_under_curve(scores, positive, weights) == pytest.approx(slow)
    assert np.isnan(area_under_curve(scores, np.ones(60), weights))


@pytest.mark.parametrize(
    ("bar", "value", "met"), [(">= 4", 4.0, True), (">= 4", 3.9, False), ("<= 0.5", 0.4, True), (None, -9.0, True)]
)
def test_a_bar_is_met_by_the_value(bar: str | None, value: float, met: bool) -> None:
    one = Measured("m", value, value - 1, value + 1, "x", bar, 3, 3)
    assert meets(one) is met
    assert "<svg" in picture("A claim", [one])


def test_a_bar_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match="about 4"):
        meets(Measured("m", 1.0, 0.0, 2.0, "x", "about 4", 3, 3))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_reads_its_rows_off_what_its_variants_leave(name: str) -> None:
    experiment = EXPERIMENTS[name]
    found = {variant.name: {seed: _left(variant) for seed in range(2)} for variant in experiment.variants}
    rows = experiment.analyse(found)
    assert rows
    assert all(one.low <= one.value <= one.high for one in rows)
    assert all(one.seeds == 2 for one in rows)
    assert any(one.bar for one in rows)
    assert len({one.measure for one in rows}) == len(rows)


def _left(variant: Variant) -> Played:
    """What an evaluation leaves, from plays that never happened; a clone is skilled where it knew its engine.

    Every result showed a decoy.
    """
    problems = made.problems(160)
    played = {}
    for play in plan(variant.last):
        skilled = (
            Play("reinforced", "reinforced", None) if variant.name == "before" and play.policy == "clone" else play
        )
        played[play.policy] = tuple(
            replace(_misled(trajectory), policy_id=play.model) for trajectory in made.trajectories(skilled, problems)
        )
    rows = {policy: made.rows_of(policy, problems, some, made.price) for policy, some in played.items()}
    trajectories = tuple(t for some in played.values() for t in some)
    if not variant.trial:
        return Played(rows=rows, trajectories=trajectories, steps=())
    figures = {"stopped": 90.0, "stopped_wrongly": 1.0, "threshold": 0.1}
    rates = {"simulations_per_second_lockstep": 6.0, "simulations_per_second_alone": 1.0}
    return Played(rows, trajectories, (), attempts=_attempts(problems), figures=figures | rates)


SOLVING = {"search": 2, "greedy": 5, "sampled": 3, "agreed": 4, "exhaustive": 1, "pruned": 2, "loop": 7}
"""Arm to n: it solves every n-th problem."""


def _attempts(problems: Sequence[Problem]) -> tuple[Attempt, ...]:
    """Trees that solve more than others, and use fewer tokens where they stop."""
    families = ("puzzle", "two_hop", "fact_compute")
    arms = {**SOLVING, "flat": 4, "static": 4, "dynamic": 2}
    return tuple(
        Attempt(arm, one.problem_id, one.group, families[n % 3], n % every == 0, 60 if arm == "pruned" else 100, 1, 1.0)
        for arm, every in arms.items()
        for n, one in enumerate(problems)
    )


def test_search_is_measured_against_its_rivals_on_the_same_problems() -> None:
    experiment = EXPERIMENTS["search"]
    found = {variant.name: {seed: _left(variant) for seed in range(3)} for variant in experiment.variants}
    rows = {row.measure: row for row in experiment.analyse(found)}
    ratio = rows["solved on puzzle, search / greedy"]
    assert (ratio.value, ratio.bar, ratio.seeds) == (pytest.approx(2.5, abs=0.4), ">= 2", 3)
    saved = rows["tokens saved by stopping dead ends"]
    assert (saved.value, saved.low, saved.high) == (pytest.approx(40.0),) * 3
    assert rows["solved, pruned - search, puzzle + two_hop"].value == 0.0
    assert rows["solved by exhaustive, puzzle"].value == 100.0
    wrong = rows["states stopped wrongly (least and most of the seeds)"]
    assert (wrong.value, wrong.n) == (pytest.approx(100 / 90), 270)
    assert rows["solved, dynamic - static, two_hop + fact_compute"].value > 0.0
    assert rows["generation 2 - generation 1"].value == 0.0
    assert not [name for name in rows if "None" in name]


def _misled(trajectory: Trajectory) -> Trajectory:
    transitions = (
        replace(one, results=tuple(replace(result, source_ids=("decoy-xx-area",)) for result in one.results))
        for one in trajectory.transitions
    )
    return replace(trajectory, transitions=tuple(transitions))
