"""The policy alone, and the cheapest correct path."""

from __future__ import annotations

import pytest
from toy_search import in_advance, make_problem, make_verbs, turns_of

from components.schema.trajectory import State
from components.search.best import cheapest_correct
from components.search.greedy import first_way, greedy_successes
from components.search.mcts import search
from components.search.rows import Provenance, content_hash, tree_rows


def by_calls(state: State) -> list[tuple[str, float]]:
    """Two calls are needed; the policy's first action everywhere is the right one, but its calls are split in three."""
    if len(turns_of(state)) < 2:
        return [("wrong", 0.4), ("call:a", 0.25), ("call:b", 0.2), ("call:c", 0.15)]
    return [("right", 1.0)]


def test_greedy_takes_the_decision_with_most_prior_and_then_its_best_action() -> None:
    verbs, _ = make_verbs(by_calls)
    tree = search([make_problem("g")], verbs, in_advance(simulations=1))[0]
    assert first_way(tree.root).action.message.content == "call:a"


def test_greedy_goes_on_where_the_tree_ends_and_leaves_the_tree_as_it_was() -> None:
    verbs, _ = make_verbs(by_calls)
    chosen = in_advance(simulations=1)
    trees = search([make_problem("g"), make_problem("h")], verbs, chosen)

    def written() -> list[str]:
        made_by = Provenance("m", "d")
        return [
            content_hash(tree_rows(tree, greedy_success=False, provenance=made_by, units=verbs.units, settings=chosen))
            for tree in trees
        ]

    before = written()
    assert greedy_successes(trees, verbs, chosen) == [True, True]
    assert written() == before


def test_greedy_that_never_answers_within_the_depth_fails() -> None:
    verbs, _ = make_verbs(by_calls)
    chosen = in_advance(simulations=1, max_depth=2)
    assert greedy_successes(search([make_problem("g")], verbs, chosen), verbs, chosen) == [False]


def test_of_two_correct_paths_the_cheaper_is_kept_with_its_transitions() -> None:
    verbs, _ = make_verbs(
        lambda state: [("right", 0.1), ("call:a", 0.9)] if len(turns_of(state)) < 2 else [("right", 1.0)]
    )
    tree = search([make_problem("two")], verbs, in_advance(simulations=20))[0]
    best = cheapest_correct(tree, policy_id="search:x", seed=0, units=verbs.units)
    assert best is not None
    assert [one.action.message.content for one in best.transitions] == ["right"]


@pytest.mark.parametrize("simulations", [1, 20])
def test_a_tree_without_a_correct_answer_has_no_best_path(simulations: int) -> None:
    verbs, _ = make_verbs(lambda state: [("wrong", 0.1), ("worse", 0.9)])
    tree = search([make_problem("no")], verbs, in_advance(simulations=simulations))[0]
    assert cheapest_correct(tree, policy_id="search:x", seed=0, units=verbs.units) is None
