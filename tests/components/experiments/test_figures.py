"""Figures of experiments: pooled over seeds, paired by problem, with the intervals of the groups behind them."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from experiment_records import left

from components.evaluation.rows import EvalRow
from components.experiments.catalogue import EXPERIMENTS
from components.experiments.figures import area_under_curve, difference, level, pooled
from components.experiments.headline import headline
from components.experiments.normaliser import RECALL
from components.experiments.picture import meets, picture
from components.experiments.plan import Measured, Played


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
    ("bar", "value", "met"),
    [
        (">= 4", 4.0, True),
        (">= 4", 3.9, False),
        ("<= 0.5", 0.4, True),
        (None, -9.0, True),
        ("0", 0.0, True),
        ("0", 1.0, False),
        ("<= 1e-4", 2e-4, False),
        ("interval > 0", 1.1, True),
        ("interval > 0", 1.0, False),
        ("interval < 0", -1.1, True),
        ("interval < 0", -0.5, False),
    ],
)
def test_a_bar_is_met_by_the_value_or_where_it_says_so_by_the_interval(
    bar: str | None, value: float, met: bool
) -> None:
    one = Measured("m", value, value - 1, value + 1, "x", bar, 3, 3)
    assert meets(one) is met
    assert "<svg" in picture("A claim", [one])


def test_a_bar_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match="about 4"):
        meets(Measured("m", 1.0, 0.0, 2.0, "x", "about 4", 3, 3))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_reads_its_rows_off_what_its_variants_leave(name: str) -> None:
    experiment = EXPERIMENTS[name]
    found = {variant.name: {seed: left(variant, count=80) for seed in range(2)} for variant in experiment.variants}
    rows = experiment.analyse(found)
    assert rows
    assert all(one.low <= one.value <= one.high for one in rows)
    assert all(one.seeds == 2 for one in rows)
    assert any(one.bar for one in rows)
    assert len({one.measure for one in rows}) == len(rows)


def test_the_headline_counts_calls_and_correct_answers_over_calls() -> None:
    before = [row("clone", n, n < 6, slices=("fact",)) for n in range(10)]
    ours = [replace(one, policy="reinforced", calls=int(n < 5), success=n < 9) for n, one in enumerate(before)]
    seeds = {0: Played(rows={"clone": tuple(before), "reinforced": tuple(ours)}, trajectories=(), steps=())}
    found = {one.measure: one.value for one in headline(seeds, "reinforced", "clone", cost_weight=0.1) if one}
    assert found["accuracy, reinforced - clone"] == pytest.approx(30.0)
    for where in ("all families", "fact"):
        assert found[f"calls saved against the clone, {where}"] == pytest.approx(50.0)
        assert found[f"tool productivity gained over the clone, {where}"] == pytest.approx(
            100 * ((9 / 5) / (6 / 10) - 1)
        )
    assert len(found) == 5, "families that nobody played have no figures"


def test_search_is_measured_against_its_rivals_on_the_same_problems() -> None:
    experiment = EXPERIMENTS["search"]
    found = {variant.name: {seed: left(variant) for seed in range(3)} for variant in experiment.variants}
    rows = {row.measure: row for row in experiment.analyse(found)}
    ratio = rows["solved on puzzle, search / greedy"]
    assert (ratio.value, ratio.bar, ratio.seeds) == (pytest.approx(2.5, abs=0.4), ">= 2", 3)
    saved = rows["tokens saved by stopping dead ends and what gains too little"]
    assert (saved.value, saved.low, saved.high) == (pytest.approx(40.0),) * 3
    assert rows["solved, pruned - search, puzzle + two_hop"].value == 0.0
    assert rows["solved by exhaustive, puzzle"].value == 100.0
    wrong = rows["states stopped wrongly (least and most of the seeds)"]
    assert (wrong.value, wrong.n) == (pytest.approx(100 / 90), 270)
    assert rows["solved, dynamic - static, two_hop + fact_compute"].value > 0.0
    assert rows["generation 2 - generation 1"].value == 0.0
    assert not [name for name in rows if "None" in name]


def test_where_no_state_was_stopped_the_table_says_so() -> None:
    experiment = EXPERIMENTS["search"]
    found = {variant.name: {seed: left(variant) for seed in range(2)} for variant in experiment.variants}
    for seed, played in found["searched"].items():
        figures = {**played.figures, "stopped": 0.0, "stopped_wrongly": 0.0}
        found["searched"][seed] = replace(played, figures=figures)
    rows = {row.measure: row for row in experiment.analyse(found)}
    assert rows["states stopped as dead ends (mean, least and most of the seeds)"].value == 0.0
    assert "states stopped wrongly (least and most of the seeds)" not in rows


def test_a_loop_that_solves_nothing_is_still_compared_with_the_student() -> None:
    experiment = EXPERIMENTS["search"]
    found = {variant.name: {seed: left(variant) for seed in range(2)} for variant in experiment.variants}
    for seed, played in found["searched"].items():
        failed = tuple(replace(one, solved=False) if one.arm == "loop" else one for one in played.attempts)
        found["searched"][seed] = replace(played, attempts=failed)
    rows = {row.measure: row for row in experiment.analyse(found)}
    gained = rows["correct answers a unit of cost, student - 3 x untrained loop"]
    assert rows["correct answers a unit of cost, untrained loop"].value == 0.0
    assert gained.value == rows["correct answers a unit of cost, student"].value > 0.0
    assert gained.bar == ">= 0"


def test_a_family_without_calls_has_no_productivity() -> None:
    quiet = tuple(replace(row("clone", n, True, slices=("chat",)), calls=0) for n in range(4))
    seeds = {0: Played(rows={"clone": quiet, "reinforced": quiet}, trajectories=(), steps=())}
    found = [one for one in headline(seeds, "reinforced", "clone", cost_weight=0.1) if one]
    assert [one.measure for one in found] == ["accuracy, reinforced - clone"]


def test_the_frontier_compares_each_price_with_the_model_trained_for_it() -> None:
    experiment = EXPERIMENTS["frontier"]
    found = {variant.name: {0: left(variant)} for variant in experiment.variants}
    worse = found["one"][0].rows["reinforced told 0.3"]
    found["one"][0] = replace(
        found["one"][0],
        rows={**found["one"][0].rows, "reinforced told 0.3": tuple(replace(one, success=False) for one in worse)},
    )
    by_name = {one.measure: one for one in experiment.analyse(found)}
    told = {
        p: by_name[f"utility at lambda {p}: one model told it - a model trained for it"]
        for p in ("0", "0.1", "0.3", "0.6")
    }
    assert [round(told[p].value, 6) for p in ("0", "0.1", "0.6")] == [0.0, 0.0, 0.0]
    assert told["0.3"].value < -50
    assert not meets(told["0.3"])
    mean = by_name["mean utility over all lambdas: one model - models trained for each"]
    assert mean.value == pytest.approx(told["0.3"].value / 4)


def test_call_recall_counts_only_problems_that_need_a_call() -> None:
    experiment = EXPERIMENTS["normaliser"]
    found = {variant.name: {0: left(variant)} for variant in experiment.variants}
    silent = found["group_std-hard"][0]
    rows = tuple(replace(one, decision="answer") for one in silent.rows["reinforced"])
    found["group_std-hard"][0] = replace(silent, rows={**silent.rows, "reinforced": rows}, steps=({RECALL: 0.25},) * 4)
    by_name = {one.measure: one for one in experiment.analyse(found)}
    assert by_name["call recall, held out, divided by group std, hard data"].value == 0.0
    assert by_name["call recall, held out, none divided, hard data"].value > 0.5
    assert meets(by_name["call recall, divided over not divided, hard data"])
    assert by_name["call recall, group_std-hard, part 3 of 4"].value == 0.25
    assert by_name["call recall, held out, none divided, hard data"].n < 160


def test_the_share_of_the_gain_is_read_off_the_same_problems() -> None:
    experiment = EXPERIMENTS["hidden_answer"]
    found = {variant.name: {0: left(variant)} for variant in experiment.variants}
    (share,) = [
        one for one in experiment.analyse(found) if one.measure == "share of the full recipe's gain in accuracy"
    ]
    assert share.value == pytest.approx(1.0), "both recipes left the same"
    base = found["hidden"][0].rows["base"]
    found["hidden"][0] = replace(found["hidden"][0], rows={**found["hidden"][0].rows, "reinforced": base})
    (share,) = [
        one for one in experiment.analyse(found) if one.measure == "share of the full recipe's gain in accuracy"
    ]
    assert share.value == pytest.approx(0.0)
