"""Reward parts and their total: a pure function of the stored record, in which failing cheaply never beats success."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest
from doubles import FakeToolbox, ScriptedPolicy, call_action, make_problem, play

from components.records.jsonl import read_records, write_records
from components.reward.likelihood import likelihood
from components.reward.parts import BAD_ENDS, reward_parts, scored, total
from components.reward.settings import RewardSettings
from components.schema.cost import Cost
from components.schema.trajectory import StopReason, Trajectory
from components.tools.prices import PriceSettings, PriceSheet

SETTINGS = RewardSettings()
SEARCH = call_action("search", query="capital Chad").message.content


def _trajectory(
    *, errored: bool = False, success: bool | None = True, stop: StopReason = StopReason.ANSWERED
) -> Trajectory:
    toolbox = FakeToolbox({("search", "capital Chad"): "N'Djamena"})
    trajectory = play(make_problem(), ScriptedPolicy([SEARCH, "It is N'Djamena."]), toolbox)
    call, answer = trajectory.transitions
    result = replace(call.results[0], is_error=errored)
    return replace(
        trajectory,
        transitions=(replace(call, results=(result,)), answer),
        outcome=replace(trajectory.outcome, success=success, stop_reason=stop),
    )


def _parts(
    trajectory: Trajectory, mean_logprob: float | None = -0.5, prices: PriceSheet | None = None
) -> dict[str, float]:
    units = (prices or PriceSheet()).units
    return reward_parts(trajectory, units=units, mean_logprob=mean_logprob, settings=SETTINGS)


def test_the_parts_of_a_success() -> None:
    parts = _parts(_trajectory())
    assert parts == pytest.approx({"likelihood": math.exp(-0.5), "correct": 1.0, "cost": 1.0, "malformed": 0.0})


def test_a_trajectory_with_an_errored_call_earns_nothing_but_still_costs() -> None:
    parts = _parts(_trajectory(errored=True))
    assert (parts["likelihood"], parts["correct"]) == (0.0, 0.0)
    assert parts["cost"] == pytest.approx(1.0)
    assert total(parts, SETTINGS) < 0


def test_what_was_not_scored_is_absent_and_not_zero() -> None:
    parts = _parts(_trajectory(success=None), mean_logprob=None)
    assert set(parts) == {"cost", "malformed"}
    assert "correct" not in _parts(_trajectory(success=None))
    assert _parts(_trajectory(success=False))["correct"] == 0.0
    assert total(parts, SETTINGS) == pytest.approx(-SETTINGS.price * parts["cost"])


@pytest.mark.parametrize("stop", list(StopReason))
def test_only_unusable_turns_are_malformed(stop: StopReason) -> None:
    assert _parts(_trajectory(stop=stop))["malformed"] == float(stop in BAD_ENDS)


def test_cost_is_subtracted_up_to_its_cap_only() -> None:
    base = {"likelihood": 0.5, "correct": 1.0, "malformed": 0.0}
    totals = [total({**base, "cost": cost}, SETTINGS) for cost in (0.0, 2.0, SETTINGS.max_cost, 1e9)]
    assert totals[0] - totals[1] == pytest.approx(2.0 * SETTINGS.price)
    assert totals[2] == totals[3]
    assert totals[1] > totals[2]


def test_with_default_weights_no_success_is_worth_less_than_a_failure() -> None:
    likelihoods = (*(likelihood(mean, "inv_ppl") for mean in (-10.0, -1.0, 0.0)), None)
    costs, malformed = (0.0, 0.3, 1.0, 5.0, 1e6), (0.0, 1.0)
    totals: dict[float, list[float]] = {0.0: [], 1.0: []}
    for correct, value, cost, bad in itertools.product(totals, likelihoods, costs, malformed):
        parts = {"correct": correct, "cost": cost, "malformed": bad}
        totals[correct].append(total(parts if value is None else {**parts, "likelihood": value}, SETTINGS))
    assert min(totals[1.0]) >= max(totals[0.0]) - 1e-9


def test_a_stored_trajectory_is_scored_again_under_new_prices(tmp_path: Path) -> None:
    first = _trajectory()
    write_records(tmp_path / "trajectories.jsonl", [scored(first, _parts(first), SETTINGS)])
    (stored,) = read_records(tmp_path / "trajectories.jsonl", Trajectory)
    dear = PriceSheet(PriceSettings(unit=PriceSettings().unit / 3))
    assert _parts(stored) == _parts(first)
    assert _parts(stored, prices=dear)["cost"] == pytest.approx(3 * _parts(first)["cost"])
    assert {**_parts(stored, prices=dear), "cost": 0.0} == {**_parts(first), "cost": 0.0}


def test_the_total_stands_on_the_last_transition_and_the_parts_on_the_outcome() -> None:
    trajectory = _trajectory()
    parts = _parts(trajectory)
    done = scored(trajectory, parts, SETTINGS)
    assert [t.reward for t in done.transitions] == [None, total(parts, SETTINGS)]
    assert done.outcome.reward_parts == parts
    assert trajectory.outcome.reward_parts is None


def test_a_trajectory_without_turns_can_be_scored() -> None:
    empty = replace(_trajectory(success=False), transitions=())
    empty = replace(empty, outcome=replace(empty.outcome, cost=Cost()))
    assert scored(empty, _parts(empty), SETTINGS).transitions == ()


def test_both_forms_of_the_likelihood_rise_with_the_log_probability() -> None:
    means = (-10.0, -2.0, -0.5, 0.0)
    assert [likelihood(mean, "inv_ppl") for mean in means] == sorted(math.exp(mean) for mean in means)
    assert [likelihood(mean, "neg_ppl") for mean in means] == sorted(-math.exp(-mean) for mean in means)
    assert likelihood(0.0, "inv_ppl") == 1.0
    assert likelihood(0.0, "neg_ppl") == -1.0


def test_without_a_verdict_the_likelihood_stands_in_for_it() -> None:
    parts = {"likelihood": 0.5, "cost": 0.0, "malformed": 0.0}
    assert total(parts, SETTINGS) == pytest.approx(0.5 * (SETTINGS.likelihood_weight + SETTINGS.correct_weight))
    assert total({**parts, "correct": 0.0}, SETTINGS) == pytest.approx(0.5 * SETTINGS.likelihood_weight)
