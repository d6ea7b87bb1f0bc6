"""Guards: what ends a run, what only warns, and what settings refuse."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from components.training.guards import AlarmRaised, CallRateCollapse, CallRateOutOfBand, Guards
from components.training.settings import ReinforceSettings

FAMILY_RATE = "rollout/call_rate_fact"


def _guards(**changes: object) -> Guards:
    return Guards(ReinforceSettings.model_validate(changes))


def test_a_collapse_is_told_with_advice_only_where_calls_were_made_before() -> None:
    guards = _guards()
    guards.check(1, {"rollout/call_rate": 0.0}, {})
    guards.check(2, {"rollout/call_rate": 0.9}, {})
    with pytest.raises(CallRateCollapse, match=r"step 3: only 0% .*Lower reward\.price"):
        guards.check(3, {"rollout/call_rate": 0.0}, {})


@pytest.mark.parametrize(("rate", "advice"), [(0.25, "Lower reward.price"), (1.0, "Raise reward.price")])
def test_a_family_outside_its_band_ends_the_run_naming_family_rate_and_band(rate: float, advice: str) -> None:
    guards = _guards(call_rate_band={"fact": [0.5, 0.9]}, call_rate_window=8)
    guards.check(1, {FAMILY_RATE: rate}, {"fact": 4})
    with pytest.raises(CallRateOutOfBand, match=f"step 2: {rate:.0%} of the last 8 problems of family fact") as caught:
        guards.check(2, {FAMILY_RATE: rate}, {"fact": 4})
    assert "50% to 90%" in str(caught.value)
    assert advice in str(caught.value)


def test_a_band_looks_at_the_last_problems_only_and_at_its_family_only() -> None:
    guards = _guards(call_rate_band={"fact": [0.5, 1.0]}, call_rate_window=4)
    for step, rate in enumerate((0.5, 1.0, 0.5)):
        guards.check(step, {FAMILY_RATE: rate, "rollout/call_rate_chat": 0.0}, {"fact": 2, "chat": 4})
    with pytest.raises(CallRateOutOfBand):
        guards.check(3, {FAMILY_RATE: 0.0}, {"fact": 2})


def test_a_resumed_guard_stops_where_an_uninterrupted_one_does() -> None:
    band = {"call_rate_band": {"fact": [0.5, 1.0]}, "call_rate_window": 8}
    straight = _guards(**band)
    seen = {"rollout/call_rate": 0.9, FAMILY_RATE: 0.25}
    straight.check(1, seen, {"fact": 4})
    resumed = _guards(**band)
    resumed.load(json.loads(json.dumps(straight.state())))
    for guards in (straight, resumed):
        with pytest.raises(CallRateOutOfBand, match="25% of the last 8"):
            guards.check(2, seen, {"fact": 4})
    other = _guards()
    other.load(json.loads(json.dumps(straight.state())))
    with pytest.raises(CallRateCollapse):
        other.check(3, {"rollout/call_rate": 0.0}, {})


def test_without_a_band_any_rate_of_a_family_is_fine() -> None:
    seen = (1, {FAMILY_RATE: 0.0}, {"fact": 9})
    with pytest.raises(CallRateOutOfBand):
        _guards(call_rate_band={"fact": [0.5, 1.0]}, call_rate_window=1).check(*seen)
    free = _guards(call_rate_window=1)
    free.check(*seen)
    assert free.alarms(*seen[:2]) == {"optim/alarms": 0.0}


def test_alarms_are_told_and_counted_and_the_run_goes_on() -> None:
    heard: list[str] = []
    guards = Guards(ReinforceSettings(kl_high=0.5, entropy_low=0.2), heard.append)
    metrics = {"loss/kl": 0.7, "rollout/decision_entropy": 0.1}
    assert guards.alarms(4, metrics) == {"optim/alarms": 2.0}
    guards.check(4, metrics, {})
    assert heard == [
        "step 4: KL to the clone is 0.7 nats a token, above 0.5 (reinforce.kl_high)",
        "step 4: decisions have 0.1 nats of entropy, below 0.2 (reinforce.entropy_low)",
    ]
    assert guards.alarms(5, {"loss/kl": 0.4, "rollout/decision_entropy": 0.3}) == {"optim/alarms": 0.0}


def test_an_alarm_ends_the_run_where_that_is_asked_for() -> None:
    guards = _guards(alarms_stop=True)
    guards.alarms(4, {"loss/kl": 9.0})
    with pytest.raises(AlarmRaised, match="step 4: KL to the clone is 9"):
        guards.check(4, {}, {})


def test_alarms_that_are_switched_off_stay_silent() -> None:
    assert _guards(kl_high=None).alarms(1, {"loss/kl": 1e9, "rollout/decision_entropy": 0.0}) == {"optim/alarms": 0.0}


def test_group_std_is_refused_with_the_reason_unless_it_is_allowed() -> None:
    with pytest.raises(ValidationError, match="stops calling tools"):
        ReinforceSettings(normaliser="group_std")
    assert ReinforceSettings(normaliser="group_std", allow_group_std=True).normaliser == "group_std"


@pytest.mark.parametrize(
    ("band", "reason"),
    [({"fcat": [0.1, 0.9]}, "no problem of family 'fcat'"), ({"fact": [0.9, 0.1]}, "within 0 and 1")],
)
def test_a_band_that_cannot_be_kept_is_refused(band: dict[str, list[float]], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        ReinforceSettings.model_validate({"call_rate_band": band})
