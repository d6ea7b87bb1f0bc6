"""Capacity: the line through measured runs, and a prediction that grows where it must and names what is full."""

from __future__ import annotations

from dataclasses import replace

import pytest

from components.capacity.catalogue import EFFICIENCY, GPUS, MODELS
from components.capacity.costs import MeasuredRun, StageCost, UnitCost, unit_costs
from components.capacity.predict import Asked, Hardware, predict, training_bytes

STAGES = ("base", "reinforce", "selfplay")


def run(name: str, work: float, seconds: float, *, stored: float = 0.0) -> MeasuredRun:
    costs = {stage: StageCost(work, seconds, stored) for stage in STAGES}
    return MeasuredRun(name, 1e8, {**costs, "base": StageCost(0.0, 5.0, 1e6)})


def test_two_runs_on_a_line_give_the_line() -> None:
    found = unit_costs([run("a", 10, 25.0, stored=100), run("b", 100, 205.0, stored=1000)])["selfplay"]
    assert found.fixed_seconds == pytest.approx(5)
    assert found.unit_seconds == pytest.approx(2)
    assert found.stored(7) == pytest.approx(70)


def test_three_runs_that_disagree_are_met_half_way_each_by_its_own_measure() -> None:
    found = unit_costs([run("a", 10, 10.0), run("b", 10, 12.0), run("c", 1000, 1100.0)])["selfplay"]
    assert 10 < found.seconds(10) < 12
    assert found.seconds(1000) == pytest.approx(1100, rel=0.02)


def test_costs_never_fall_with_work_nor_start_below_nothing() -> None:
    falling = unit_costs([run("a", 10, 30.0), run("b", 20, 20.0)])["selfplay"]
    assert falling.unit_seconds == 0
    steep = unit_costs([run("a", 10, 1.0), run("b", 20, 10.0)])["selfplay"]
    assert steep.fixed_seconds == 0
    assert steep.unit_seconds > 0


def test_one_run_alone_starts_like_the_stage_that_only_starts() -> None:
    found = unit_costs([run("a", 10, 25.0)])["selfplay"]
    assert (found.fixed_seconds, found.unit_seconds) == (5.0, 2.0)


def test_runs_of_different_stages_cannot_be_compared() -> None:
    other = replace(run("b", 1, 1.0), stages={"base": StageCost(0, 1, 1)})
    with pytest.raises(ValueError, match="run b has the stages base"):
        unit_costs([run("a", 1, 1.0), other])
    with pytest.raises(ValueError, match="no run on record"):
        unit_costs([])


COSTS = {
    "base": UnitCost(5.0, 0.0, 270e6, 0.0),
    "reinforce": UnitCost(10.0, 1.0, 270e6, 0.0),
    "selfplay": UnitCost(10.0, 2.0, 0.0, 1000.0),
}
ASKED = Asked(
    work={"base": 0, "reinforce": 100, "selfplay": 1000},
    model=MODELS["135m"],
    measured_parameters=MODELS["135m"].parameters,
    trained_share=0.4,
    slots=128,
    context_tokens=1024,
)
HERE = Hardware(0, GPUS["h100"], machine_flops=100e9)


def test_the_measured_machine_and_model_give_the_measured_line() -> None:
    plan = predict(COSTS, ASKED, HERE)
    assert [one.seconds for one in plan.stages] == [5.0, 110.0, 2010.0]
    assert plan.money == 0
    assert plan.stored == pytest.approx(2 * 270e6 + 1e6)
    assert plan.saturates.startswith("processors in selfplay (95%")


def test_a_larger_model_takes_longer_in_proportion_but_starts_as_fast() -> None:
    plan = predict(COSTS, replace(ASKED, model=MODELS["7b"]), HERE)
    larger = MODELS["7b"].parameters / MODELS["135m"].parameters
    assert plan.stages[1].seconds == pytest.approx(10 + 100 * larger)
    assert plan.stages[0].seconds == 5.0
    assert plan.stages[1].stored == pytest.approx(270e6 * larger)


def test_gpus_share_only_what_has_shards() -> None:
    one, many = (predict(COSTS, ASKED, replace(HERE, gpus=gpus)) for gpus in (1, 64))
    faster = EFFICIENCY * GPUS["h100"].flops / HERE.machine_flops
    assert many.stages[1].seconds == one.stages[1].seconds == pytest.approx(10 + 100 / faster)
    assert many.stages[2].seconds == pytest.approx(10 + 2000 / faster / 64)
    assert many.money == pytest.approx(many.seconds / 3600 * 64 * GPUS["h100"].price)


def test_one_process_that_takes_longest_is_named() -> None:
    long = {**COSTS, "reinforce": UnitCost(0.0, 100.0, 0.0, 0.0)}
    assert predict(long, ASKED, HERE).saturates.startswith("one process in reinforce")


def test_a_model_that_does_not_fit_is_told_before_anything_else() -> None:
    plan = predict(COSTS, replace(ASKED, model=MODELS["32b"]), replace(HERE, gpus=8))
    assert plan.saturates.startswith("memory of a GPU")
    assert plan.memory > GPUS["h100"].memory


def test_memory_of_the_default_model_is_the_sum_of_its_parts() -> None:
    weights = 134.5e6 * (4 + 14 * 0.4)
    cache = 2 * 30 * 3 * 64 * 2 * 128 * 1024
    assert training_bytes(ASKED) == pytest.approx(weights + cache)
