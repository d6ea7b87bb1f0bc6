"""Phi in its three forms, contrasted or not, kept or as a potential that cannot move the optimum."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from doubles import FakeToolbox, ScriptedPolicy, call_action, make_problem, play
from hypothesis import given
from hypothesis import strategies as st

from components.reward.likelihood import final_value, likelihood, potentials, shaping
from components.reward.parts import reward_parts, scored, total
from components.reward.settings import RewardSettings
from components.schema.trajectory import Evidence, Reading, Trajectory
from components.tools.prices import PriceSheet

POTENTIAL = RewardSettings(likelihood_mode="potential")


def _trajectory(readings: dict[int, float], *, calls: int = 2, rivals: tuple[float, ...] = ()) -> Trajectory:
    """So many calls, then an answer; the scorer read the reference after these numbers of responses."""
    turns = [call_action("search", query=f"q{number}").message.content for number in range(calls)]
    one = play(make_problem(), ScriptedPolicy([*turns, "N'Djamena"]), FakeToolbox())
    read = tuple(Reading(seen, mean, rivals) for seen, mean in readings.items())
    return replace(one, outcome=replace(one.outcome, evidence=Evidence(read)))


def _errored(trajectory: Trajectory, turn: int) -> Trajectory:
    transitions = list(trajectory.transitions)
    (result,) = transitions[turn].results
    transitions[turn] = replace(transitions[turn], results=(replace(result, is_error=True),))
    return replace(trajectory, transitions=tuple(transitions))


def test_forms_rise_with_the_log_probability_and_the_articles_is_cut() -> None:
    means = (-10.0, -2.0, -0.5, 0.0)
    assert [likelihood(mean, "inv_ppl") for mean in means] == [math.exp(mean) for mean in means]
    assert [likelihood(mean, "neg_ppl", max_perplexity=20.0) for mean in means] == pytest.approx(
        [-20.0, -math.exp(2.0), -math.exp(0.5), -1.0]
    )


def test_the_gain_is_what_the_responses_added_and_nothing_without_a_call() -> None:
    gain = RewardSettings(likelihood="gain")
    assert final_value(_trajectory({0: -2.0, 2: -0.5}), gain) == pytest.approx(math.exp(-0.5) - math.exp(-2.0))
    assert final_value(_trajectory({0: -2.0}, calls=0), gain) == 0.0
    assert final_value(_trajectory({2: -0.5}), gain) is None


def test_a_contrast_subtracts_what_wrong_answers_earn_as_well() -> None:
    one = _trajectory({2: -0.5}, rivals=(-1.0, -3.0))
    wrong = (math.exp(-1.0) + math.exp(-3.0)) / 2
    assert final_value(one, RewardSettings(distractors=2)) == pytest.approx(math.exp(-0.5) - wrong)
    assert final_value(one, RewardSettings(distractors=1)) == pytest.approx(math.exp(-0.5) - math.exp(-1.0))
    assert final_value(one, RewardSettings()) == pytest.approx(math.exp(-0.5))
    assert final_value(_trajectory({2: -0.5}), RewardSettings(distractors=1)) is None


@pytest.mark.parametrize(("form", "least"), [("inv_ppl", 0.0), ("neg_ppl", -20.0), ("gain", -math.exp(-2.0))])
def test_after_a_failed_call_phi_is_the_least_there_is(form: str, least: float) -> None:
    settings = RewardSettings.model_validate({"likelihood": form})
    for mean in (-9.0, -0.1):
        one = _errored(_trajectory({0: -2.0, 1: mean, 2: mean}), 0)
        assert final_value(one, settings) == pytest.approx(least)


def test_unread_states_have_no_potential() -> None:
    assert potentials(_trajectory({2: -0.5}), POTENTIAL) is None
    parts = reward_parts(_trajectory({2: -0.5}), prices=PriceSheet(), settings=POTENTIAL)
    assert parts["likelihood"] is None


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=8))
def test_shaping_telescopes_along_every_path(values: list[float]) -> None:
    assert math.fsum(shaping(values)) == pytest.approx(values[-1] - values[0], abs=1e-9)


@pytest.mark.parametrize("form", ["inv_ppl", "neg_ppl", "gain"])
def test_every_finished_path_from_a_root_earns_the_same_shaping(form: str) -> None:
    settings = RewardSettings.model_validate({"likelihood": form, "likelihood_mode": "potential"})
    sums = set()
    for calls, mean in itertools.product((0, 1, 2), (-4.0, -0.1)):
        one = _trajectory({0: -2.0, **dict.fromkeys(range(1, calls + 1), mean)}, calls=calls)
        part = reward_parts(one, prices=PriceSheet(), settings=settings)["likelihood"]
        assert part is not None
        sums.add(round(part, 9))
    assert len(sums) == 1


def test_a_play_stopped_at_its_results_earns_what_they_added() -> None:
    whole = _trajectory({0: -2.0, 1: -0.5}, calls=1)
    stopped = replace(whole, transitions=whole.transitions[:1])
    assert potentials(stopped, POTENTIAL) == pytest.approx((math.exp(-2.0), math.exp(-0.5)))
    assert potentials(whole, POTENTIAL) == pytest.approx((math.exp(-2.0), math.exp(-0.5), 0.0))


def test_in_potential_mode_each_step_carries_its_own_reward_and_they_add_up_to_the_total() -> None:
    one = _trajectory({0: -2.0, 1: -1.0, 2: -0.5})
    parts = reward_parts(one, prices=PriceSheet(), settings=POTENTIAL)
    rewards = [t.reward for t in scored(one, parts, POTENTIAL).transitions]
    assert rewards[:2] == pytest.approx(
        [0.3 * (math.exp(-1.0) - math.exp(-2.0)), 0.3 * (math.exp(-0.5) - math.exp(-1.0))]
    )
    assert sum(reward or 0.0 for reward in rewards) == pytest.approx(total(parts, POTENTIAL))


# --- a small decision process, all of whose policies are enumerated --------------------------------------------------

STATES = {"root": ("answer", "call"), "good": ("answer", "call"), "bad": ("answer", "call")}
NEXT = {("root", "call"): "good", ("good", "call"): "bad", ("bad", "call"): "end"}
"""`answer` ends; calls go on. The scorer loves the state `bad`, where answers are wrong."""
WORTH = {("root", "answer"): 0.2, ("good", "answer"): 1.0, ("bad", "answer"): 0.0, ("bad", "call"): -0.5}
PHI = {"root": 0.1, "good": 0.3, "bad": 5.0}
PRICE = 0.1


def _play(policy: dict[str, str], start: str) -> tuple[list[str], float]:
    """States of the episode and its reward without shaping."""
    path, earned = [start], 0.0
    while path[-1] != "end":
        state = path[-1]
        action = policy[state]
        earned += WORTH.get((state, action), 0.0) - (PRICE if action == "call" else 0.0)
        path.append(NEXT.get((state, action), "end"))
    return path, earned


def _best(start: str, *, mode: str) -> set[tuple[str, ...]]:
    policies = [dict(zip(STATES, choice, strict=True)) for choice in itertools.product(*STATES.values())]
    values = {}
    for policy in policies:
        path, earned = _play(policy, start)
        phis = [PHI.get(state, 0.0) for state in path]
        bonus = {"none": 0.0, "potential": math.fsum(shaping(phis)), "kept": phis[-2]}[mode]
        values[tuple(policy.values())] = earned + bonus
    best = max(values.values())
    return {policy for policy, value in values.items() if value > best - 1e-9}


@pytest.mark.parametrize("start", STATES)
def test_shaping_leaves_the_best_policies_of_a_decision_process_as_they_were(start: str) -> None:
    assert _best(start, mode="potential") == _best(start, mode="none")


def test_keeping_phi_at_the_end_may_move_the_optimum_which_is_why_there_are_two_modes() -> None:
    assert _best("root", mode="kept") != _best("root", mode="none")
