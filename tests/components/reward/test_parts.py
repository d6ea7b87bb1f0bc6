"""Reward parts and their total: a pure function of the stored record, in which failing cheaply never beats success."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from doubles import FakeToolbox, ScriptedPolicy, call_action, make_problem, play

from components.reward.likelihood import likelihood
from components.reward.parts import BAD_ENDS, PARTS, Parts, cost_of, reward_parts, scored, total
from components.reward.settings import Form, RewardSettings
from components.schema.cost import Cost
from components.schema.trajectory import Evidence, Reading, StopReason, Trajectory
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
    trajectory: Trajectory,
    mean_logprob: float | None = -0.5,
    prices: PriceSheet | None = None,
    settings: RewardSettings = SETTINGS,
    preference: float | None = None,
) -> dict[str, float | None]:
    seen = sum(len(transition.results) for transition in trajectory.transitions)
    readings = () if mean_logprob is None else (Reading(seen, mean_logprob),)
    outcome = replace(trajectory.outcome, evidence=Evidence(readings, preference))
    return reward_parts(replace(trajectory, outcome=outcome), prices=prices or PriceSheet(), settings=settings)


def _made(**parts: float | None) -> Parts:
    """Parts by name; what is not named costs nothing, and was not scored."""
    return {**dict.fromkeys(PARTS), "time": 0.0, "money": 0.0, "malformed": 0.0, **parts}


def test_the_parts_of_a_success() -> None:
    parts = _parts(_trajectory())
    assert (parts["chance"], parts["preference"]) == (None, None)
    assert {name: value for name, value in parts.items() if value is not None} == pytest.approx(
        {"likelihood": math.exp(-0.5), "correct": 1.0, "time": 0.5, "money": 0.5, "malformed": 0.0}
    )


def test_time_and_money_add_up_to_the_units_of_the_price_sheet() -> None:
    prices = PriceSheet(PriceSettings(money_per_second=0.03, unit=0.007))
    trajectory = _trajectory()
    assert cost_of(_parts(trajectory, prices=prices), SETTINGS) == pytest.approx(prices.units(trajectory.outcome.cost))


def test_time_and_money_are_weighed_apart() -> None:
    parts = _made(likelihood=0.0, correct=0.0, time=2.0, money=1.0)
    assert total(parts, SETTINGS) == pytest.approx(-0.3)
    assert total(parts, RewardSettings(time_weight=0.0)) == pytest.approx(-0.1)
    assert total(parts, RewardSettings(money_weight=0.5)) == pytest.approx(-0.25)


def test_a_preference_counts_by_its_weight_and_its_absence_changes_nothing() -> None:
    liked, unsaid = (_parts(_trajectory(), preference=value) for value in (0.4, None))
    weighed = RewardSettings(preference_weight=0.5)
    assert total(liked, SETTINGS) == total(unsaid, SETTINGS) == total(unsaid, weighed)
    assert (total(liked, weighed) or 0.0) - (total(unsaid, weighed) or 0.0) == pytest.approx(0.2)


def test_a_trajectory_with_an_errored_call_earns_nothing_but_still_costs() -> None:
    parts = _parts(_trajectory(errored=True))
    assert (parts["likelihood"], parts["correct"]) == (0.0, 0.0)
    assert cost_of(parts, SETTINGS) == pytest.approx(1.0)
    whole = total(parts, SETTINGS)
    assert whole is not None
    assert whole < 0


def test_what_was_not_scored_is_none_and_so_is_a_total_that_needs_it() -> None:
    parts = _parts(_trajectory(success=None), mean_logprob=None)
    assert (parts["likelihood"], parts["correct"]) == (None, None)
    assert _parts(_trajectory(success=False))["correct"] == 0.0
    assert total(parts, SETTINGS) is None
    assert total(_made(correct=1.0), SETTINGS) is None
    assert total(_made(likelihood=1.0), SETTINGS) is None
    assert total(_made(correct=1.0), RewardSettings(likelihood_weight=0.0)) == pytest.approx(1.0)


def test_an_unscored_trajectory_carries_no_reward() -> None:
    parts = _parts(_trajectory(), mean_logprob=None)
    assert {t.reward for t in scored(_trajectory(), parts, SETTINGS).transitions} == {None}


@pytest.mark.parametrize("stop", list(StopReason))
def test_only_unusable_turns_are_malformed(stop: StopReason) -> None:
    assert _parts(_trajectory(stop=stop))["malformed"] == float(stop in BAD_ENDS)


def test_cost_is_subtracted_up_to_its_cap_only() -> None:
    totals = [
        total(_made(likelihood=0.5, correct=1.0, money=cost), SETTINGS) or 0.0
        for cost in (0.0, 2.0, SETTINGS.max_cost, 1e9)
    ]
    assert totals[0] - totals[1] == pytest.approx(2.0 * SETTINGS.price)
    assert totals[2] == totals[3]
    assert totals[1] > totals[2]


def test_with_default_weights_no_success_is_worth_less_than_a_failure() -> None:
    likelihoods = [likelihood(mean, "inv_ppl") for mean in (-10.0, -1.0, 0.0)]
    costs, malformed = (0.0, 0.3, 1.0, 5.0, 1e6), (0.0, 1.0)
    totals: dict[float, list[float]] = {0.0: [], 1.0: []}
    for correct, value, cost, bad in itertools.product(totals, likelihoods, costs, malformed):
        whole = total(_made(correct=correct, likelihood=value, money=cost, malformed=bad), SETTINGS)
        assert whole is not None
        totals[correct].append(whole)
    assert min(totals[1.0]) >= max(totals[0.0]) - 1e-9


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


@pytest.mark.parametrize("form", ["inv_ppl", "neg_ppl"])
def test_without_a_verdict_the_chance_that_the_results_hold_the_answer_stands_in_for_it(form: Form) -> None:
    whole = _trajectory(success=None)
    stopped = replace(whole, transitions=whole.transitions[:1])
    settings = RewardSettings(likelihood=form)
    parts = _parts(stopped, settings=settings)
    assert parts["chance"] == pytest.approx(math.exp(-0.5))
    rest = {**parts, "chance": 0.0}
    assert (total(parts, settings) or 0.0) - (total(rest, settings) or 0.0) == pytest.approx(math.exp(-0.5))
    assert total({**parts, "correct": 0.0}, settings) == total(rest, settings)
    assert _parts(_trajectory())["chance"] is None
