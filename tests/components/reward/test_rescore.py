"""Scoring again: rewards are a pure function of the record, the prices and the weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
from doubles import FakeToolbox, ScriptedPolicy, call_action, make_problem, play
from hypothesis import given
from hypothesis import strategies as st

from components.records.codec import from_json, to_json
from components.reward.parts import PARTS, reward_parts, scored
from components.reward.rescore import compare, reprice, rescore, total_of
from components.reward.settings import RewardSettings
from components.schema.cost import NO_COST
from components.schema.trajectory import Evidence, Reading, StopReason, Trajectory
from components.tools.prices import PriceSheet
from components.tools.settings import PriceSettings, ToolPrice

SHEET, SETTINGS = PriceSheet(), RewardSettings()
DEAR = PriceSheet(
    PriceSettings(tools={"search": ToolPrice(money=0.02, seconds=0.4), "python": ToolPrice(money=0.0002, seconds=0.2)})
)
CALLS = {"search": call_action("search", query="a"), "python": call_action("python", code="1")}
MEANS = st.floats(-10.0, 0.0)


def _play(tools: tuple[str, ...], means: tuple[float, ...], *, success: bool = True) -> Trajectory:
    """A play with these calls, as reinforcement stores it: one reading after every number of responses."""
    turns = [CALLS[tool].message.content for tool in tools]
    one = play(make_problem(max_calls=9), ScriptedPolicy([*turns, "N'Djamena"]), FakeToolbox())
    read = tuple(Reading(seen, mean, (mean - 1.0,)) for seen, mean in enumerate(means[: len(tools) + 1]))
    one = replace(one, outcome=replace(one.outcome, success=success, evidence=Evidence(read)))
    return scored(one, reward_parts(one, prices=SHEET, settings=SETTINGS), SETTINGS)


@st.composite
def plays(draw: st.DrawFn) -> Trajectory:
    tools = tuple(draw(st.lists(st.sampled_from(sorted(CALLS)), max_size=3)))
    means = tuple(draw(st.lists(MEANS, min_size=4, max_size=4)))
    one = _play(tools, means, success=draw(st.booleans()))
    stop = draw(st.sampled_from([StopReason.ANSWERED, StopReason.TRUNCATED]))
    return replace(one, outcome=replace(one.outcome, stop_reason=stop))


@st.composite
def weights(draw: st.DrawFn) -> RewardSettings:
    return RewardSettings(
        likelihood=draw(st.sampled_from(["inv_ppl", "neg_ppl", "gain"])),
        likelihood_mode=draw(st.sampled_from(["kept", "potential"])),
        distractors=draw(st.sampled_from([0, 1])),
        price=draw(st.floats(0, 1)),
        time_weight=draw(st.floats(0, 2)),
    )


@given(plays(), weights())
def test_rewards_are_a_function_of_record_prices_and_weights_alone(one: Trajectory, settings: RewardSettings) -> None:
    again = rescore(one, prices=DEAR, settings=settings)
    stored = from_json(Trajectory, to_json(one))
    renamed = replace(one, policy_id="other", seed=one.seed + 1, trajectory_id="x")
    unscored = replace(
        one,
        transitions=tuple(replace(t, reward=None) for t in one.transitions),
        outcome=replace(one.outcome, reward_parts=None),
    )
    for other in (stored, renamed, unscored, again):
        result = rescore(other, prices=DEAR, settings=settings)
        assert result.outcome.reward_parts == again.outcome.reward_parts
        assert [t.reward for t in result.transitions] == [t.reward for t in again.transitions]


@given(plays())
def test_the_same_prices_give_the_stored_record_back_and_the_way_there_leaves_no_trace(one: Trajectory) -> None:
    stored = rescore(one, prices=SHEET, settings=SETTINGS)
    assert rescore(stored, prices=SHEET, settings=SETTINGS) == stored
    assert rescore(rescore(stored, prices=DEAR, settings=SETTINGS), prices=SHEET, settings=SETTINGS) == stored


def test_other_prices_change_costs_and_their_parts_and_nothing_else() -> None:
    one = _play(("search", "python"), (-2.0, -1.0, -0.5))
    dear = rescore(one, prices=DEAR, settings=SETTINGS)
    before, after = one.outcome.reward_parts or {}, dear.outcome.reward_parts or {}
    assert {name for name in PARTS if before[name] != after[name]} == {"money"}
    assert after["money"] == pytest.approx((0.02 + 0.0002) / 0.004)
    assert [t.cost.completion_tokens for t in dear.transitions] == [t.cost.completion_tokens for t in one.transitions]
    assert dear.outcome.cost.completion_tokens == one.outcome.cost.completion_tokens
    assert [t.action for t in dear.transitions] == [t.action for t in one.transitions]


def test_a_call_that_holds_nested_calls_keeps_its_recorded_cost_and_is_counted() -> None:
    one = _play(("search", "python"), (-2.0, -1.0, -0.5))
    outer = one.transitions[0]
    nested = replace(outer.results[0], cost=replace(outer.results[0].cost, calls=3, money=1.0))
    cost = replace(outer.cost, calls=3, money=1.0)
    one = replace(one, transitions=(replace(outer, results=(nested,), cost=cost), *one.transitions[1:]))
    priced = reprice(one, DEAR)
    assert priced.transitions[0] == one.transitions[0]
    assert priced.outcome.cost.money == pytest.approx(1.0002)
    assert compare([one], [priced]).nested == 1


def test_what_was_not_recorded_stays_none_and_is_counted() -> None:
    one = _play(("search",), (-2.0, -0.5))
    unread = replace(one, outcome=replace(one.outcome, evidence=None, reward_parts=None))
    again = rescore(unread, prices=SHEET, settings=SETTINGS)
    assert (again.outcome.reward_parts or {})["likelihood"] is None
    assert total_of(again) is None
    changes = {change.name: change for change in compare([unread], [again]).changes}
    assert (changes["likelihood"].unscored, changes["total"].unscored, changes["correct"].unscored) == (1, 1, 0)
    assert changes["total"].after is None
    free = rescore(unread, prices=SHEET, settings=RewardSettings(likelihood_weight=0.0))
    assert total_of(free) == pytest.approx(1.0 - 0.1)


def test_a_likelihood_recorded_without_its_readings_stays_as_it_is() -> None:
    one = _play(("search",), (-2.0, -0.5))
    old = replace(one, outcome=replace(one.outcome, evidence=None, reward_parts={"likelihood": 0.25, "cost": 1.0}))
    assert (rescore(old, prices=DEAR, settings=SETTINGS).outcome.reward_parts or {})["likelihood"] == 0.25


def test_ranks_are_compared_within_the_group_and_ties_share_one() -> None:
    """A search that is right against an answer that is wrong: at ten units a search the order turns."""
    called, direct = _play(("search",), (-2.0, -0.5)), _play((), (-2.0,), success=False)
    other = [replace(one, problem_id="other") for one in (direct, direct)]
    before = [called, direct, *other, replace(called, problem_id="alone")]
    settings = RewardSettings(max_cost=100.0, price=1.0)
    dearest = PriceSheet(PriceSettings(tools={"search": ToolPrice(money=0.04, seconds=0.4)}))
    result = compare(before, [rescore(one, prices=dearest, settings=settings) for one in before])
    assert (result.trajectories, result.groups, result.moved) == (5, 2, 2)
    same = compare(before, [rescore(one, prices=SHEET, settings=SETTINGS) for one in before])
    assert same.moved == 0
    assert {change.changed for change in same.changes} == {0}


def test_a_trajectory_without_turns_can_be_scored_again() -> None:
    one = _play((), (-2.0,))
    empty = replace(one, transitions=(), outcome=replace(one.outcome, cost=NO_COST))
    assert total_of(rescore(empty, prices=DEAR, settings=SETTINGS)) is None
