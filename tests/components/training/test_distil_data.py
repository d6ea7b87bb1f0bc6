"""What is distilled: minimal, distinct, correct, and mixed by the given share."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_search import make_action

from components.schema.cost import Cost
from components.schema.trajectory import Outcome, StopReason, Trajectory, Transition
from components.training.distil_data import distil_material, hard_problems


def made(problem: str, *turns: str, success: bool | None = True, policy: str = "search:x") -> Trajectory:
    transitions = tuple(Transition(make_action(turn), (), Cost()) for turn in turns)
    outcome = Outcome(StopReason.ANSWERED, turns[-1], success, Cost(calls=len(turns) - 1, money=float(len(turns) - 1)))
    return Trajectory(f"{policy}/{problem}/{'/'.join(turns)}", problem, policy, 0, transitions, outcome)


def units(cost: Cost) -> float:
    return cost.money


def finished(problem: str, verdicts: str, *, visits: int = 12) -> list[dict[str, Any]]:
    """Rows of one tree with a finished branch a letter: y for a correct one."""
    root = {"problem_id": problem, "parent_id": None, "visits": visits, "terminal": False, "success": None}
    leaf = {"problem_id": problem, "parent_id": "t", "visits": 1, "terminal": True}
    untried = {"problem_id": problem, "parent_id": "t", "visits": 0, "terminal": None, "success": None}
    return [root, untried, *({**leaf, "success": letter == "y"} for letter in verdicts)]


DEMONSTRATIONS = [made(f"d{index}", "call:a", "yes", policy="human") for index in range(40)]


def test_each_problem_teaches_its_cheapest_correct_trajectory_and_cheap_problems_come_first() -> None:
    searched = [
        made("p", "call:a", "call:b", "yes"),
        made("q", "call:a", "yes"),
        made("p", "yes"),
        made("r", "no", success=False),
    ]
    material = distil_material(searched, [], [], units=units)
    assert [(one.problem_id, len(one.transitions)) for one in material] == [("p", 1), ("q", 2)]


def test_unjudged_trajectories_are_not_taken_for_correct() -> None:
    assert distil_material([made("p", "yes", success=None)], [], [], units=units) == ()


@pytest.mark.parametrize(("searched", "share"), [([], 0.75), ([made("p", "yes")], 0.0)])
def test_the_demonstrations_alone_are_left_where_search_has_nothing_to_give(
    searched: list[Trajectory], share: float
) -> None:
    assert distil_material(searched, [], DEMONSTRATIONS, units=units, search_share=share) == tuple(DEMONSTRATIONS)


def test_demonstrations_fill_the_rest_of_the_share() -> None:
    searched = [made(f"p{index}", "yes") for index in range(30)]
    material = distil_material(searched, [], DEMONSTRATIONS, units=units, search_share=0.75)
    assert sum(one.policy_id == "human" for one in material) == 10
    assert len(material) == 40


def test_every_stretch_holds_about_the_same_mixture() -> None:
    searched = [made(f"p{index}", "yes") for index in range(30)]
    material = distil_material(searched, [], DEMONSTRATIONS, units=units, search_share=0.75)
    for first in range(0, 40, 8):
        assert sum(one.policy_id == "human" for one in material[first : first + 8]) == 2


def test_a_demonstration_equal_to_a_searched_solution_or_to_another_is_taken_once() -> None:
    twins = [made("p", "yes", policy="human"), *DEMONSTRATIONS[:1], *DEMONSTRATIONS[:1]]
    material = distil_material([made("p", "yes")], [], twins, units=units, search_share=0.01)
    assert [one.policy_id for one in material] == ["search:x", "human"]


def test_rarely_solved_problems_are_repeated() -> None:
    nodes = [*finished("hard", "nnny"), *finished("easy", "yyn"), *finished("few", "nnny", visits=3)]
    searched = [made("hard", "yes"), made("easy", "yes"), made("few", "yes")]
    material = distil_material(searched, nodes, [], units=units, hard_repeats=3)
    assert sorted(one.problem_id for one in material) == ["easy", "few", "hard", "hard", "hard"]


@pytest.mark.parametrize(
    ("verdicts", "hard"), [("n", False), ("nny", False), ("nnny", True), ("y", False), ("", False)]
)
def test_hard_is_solved_on_at_most_a_quarter_but_not_on_none(verdicts: str, hard: bool) -> None:
    assert hard_problems(finished("p", verdicts), min_visits=8) == (frozenset({"p"}) if hard else frozenset())


@settings(deadline=None)
@given(st.integers(1, 30), st.sampled_from([0.5, 0.75, 0.9, 1.0]), st.integers(0, 5))
def test_the_choice_is_the_same_for_the_same_seed_and_keeps_the_share(count: int, share: float, seed: int) -> None:
    searched = [made(f"p{index}", "yes") for index in range(count)]

    def choose() -> tuple[Trajectory, ...]:
        return distil_material(searched, [], DEMONSTRATIONS, units=units, search_share=share, seed=seed)

    assert choose() == choose()
    assert len(choose()) - count == min(round(count * (1 - share) / share), len(DEMONSTRATIONS))


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="search_share"):
        distil_material([], [], [], units=units, search_share=share)
