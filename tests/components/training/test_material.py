"""What a step learns: siblings that differ, and the gold only after a response that holds it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tiny_models import chat, told
from toy_groups import PROBLEM, Branch, bandit, branches_of, material_of, siblings

from components.schema.group import Group
from components.schema.trajectory import ANSWER, Trajectory
from components.training.settings import ReinforceSettings

SETTINGS = ReinforceSettings(references=4)


def _found(rewards: dict[str, float]) -> Group:
    """Siblings whose responses hold the reference."""
    return siblings(rewards, likelihood=0.9)


def test_only_siblings_with_an_advantage_are_learnt_from() -> None:
    same = _found({"capital Chad": 0.5, "river Mali": 0.5})
    assert material_of([same], SETTINGS).arguments == ()
    lone = bandit({ANSWER: 1.0, "search": 0.0, "python": 0.3})
    assert material_of([lone], SETTINGS).arguments == ()
    weights = [one.weight for one in material_of([_found({"a b": 1.0, "c d": 0.5, "e f": 0.0})], SETTINGS).arguments]
    assert weights == pytest.approx([0.75, -0.75])
    grpo = ReinforceSettings(normaliser="group_std", allow_group_std=True)
    divided = material_of([_found({"a b": 0.02, "c d": 0.01, "e f": 0.0})], grpo).arguments
    assert [one.weight for one in divided] == pytest.approx([1.0, -1.0], abs=0.02)


def _taught(branches: list[Branch]) -> list[str]:
    references = material_of([branches_of(branches)], SETTINGS).references
    return [chat().decode(one.ids) for one in references]


def test_the_direct_branch_is_never_taught_the_gold() -> None:
    direct = told(PROBLEM, [], "It is N'Djamena.")
    assert _taught([(ANSWER, direct, 1.0, 1.0), ("search", told(PROBLEM, [], "x"), 0.9, 1.0)]) == []


def test_the_gold_is_taught_after_the_best_response_that_holds_it() -> None:
    def searched(query: str) -> Trajectory:
        return told(PROBLEM, [("search", query, f"{query}: N'Djamena")], "No idea.")

    (text,) = _taught(
        [
            (ANSWER, told(PROBLEM, [], "x"), 1.0, 1.0),
            ("search", searched("worse"), 0.2, 0.9),
            ("search", searched("better"), 0.7, 0.9),
            ("search", searched("empty"), 0.9, 0.01),
            ("search", searched("unscored"), 0.9, None),
        ]
    )
    assert "better: N'Djamena" in text
    assert text.endswith("It is N'Djamena.")
    assert "No idea" not in text


def test_only_the_best_references_of_a_step_are_taught() -> None:
    groups = [_found({f"query {k}": 0.1 * k}) for k in range(4)]
    taught = material_of(groups, ReinforceSettings(references=2)).references
    texts = [chat().decode(one.ids) for one in taught]
    assert ["query 3" in texts[0], "query 2" in texts[1], len(texts)] == [True, True, 2]


def test_the_gold_is_not_taught_after_an_error() -> None:
    trajectory = told(PROBLEM, [("search", "x", "time-out")], "No.")
    call, answer = trajectory.transitions
    failed = replace(call, results=(replace(call.results[0], is_error=True),))
    assert _taught([("search", replace(trajectory, transitions=(failed, answer)), 0.5, 0.9)]) == []


def test_a_taught_reference_marks_nothing_but_the_reference() -> None:
    (one,) = material_of([_found({"capital Chad": 1.0, "b c": 0.0})], SETTINGS).references
    assert (one.calls, one.stays, one.arguments) == ((), (), ())
    assert chat().decode([one.ids[p] for p in one.answers]) == PROBLEM.reference.text


def test_the_reference_follows_the_results_of_a_play_that_stopped_there() -> None:
    whole = told(PROBLEM, [("search", "capital Chad", "N'Djamena")], "Yes.")
    stopped = replace(whole, transitions=whole.transitions[:1])
    (one,) = material_of([branches_of([("search", stopped, 1.0, 0.9)])], SETTINGS).references
    (other,) = material_of([branches_of([("search", whole, 1.0, 0.9)])], SETTINGS).references
    assert one == other
