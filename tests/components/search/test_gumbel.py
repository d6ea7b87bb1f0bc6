"""Gumbel selection: what its plan considers, and what it teaches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_search import in_advance, make_problem, make_verbs, random_world, turns_of

from components.schema.trajectory import State
from components.search.gumbel import considered_visits, improved_policy, mixed_value
from components.search.mcts import search
from components.search.settings import SelfplaySettings
from components.search.tree import Node, walk


def wide(state: State) -> Sequence[tuple[str, float]]:
    """Eight ways to go on, for ever; which one does not matter."""
    return [(f"call:{letter}", 0.125) for letter in "abcdefgh"]


def gumbel(**changes: object) -> SelfplaySettings:
    return in_advance(**{"selection": "gumbel", "max_depth": 9, **changes})


def halving(considered: int, simulations: int) -> list[int]:
    """Sequential halving as it is told: equal shares for the survivors, of whom half go on, until nothing is left."""
    visits, survivors, plan = [0] * considered, considered, []
    while len(plan) < simulations:
        share = max(1, int(simulations / (math.ceil(math.log2(considered)) * survivors)))
        for _ in range(share):
            plan += visits[:survivors]
            visits = [count + (place < survivors) for place, count in enumerate(visits)]
        survivors = max(2, survivors // 2)
    return plan[:simulations]


@given(st.integers(2, 20), st.integers(1, 100))
def test_the_plan_is_that_of_sequential_halving(considered: int, simulations: int) -> None:
    assert list(considered_visits(considered, simulations)) == halving(considered, simulations)


def test_simulations_go_to_as_many_root_actions_as_are_considered_and_halve() -> None:
    verbs, _ = make_verbs(wide)
    root = search([make_problem("w")], verbs, gumbel(simulations=16, considered=4))[0].root
    assert sorted((edge.visits for edge in root.edges), reverse=True) == [6, 6, 2, 2, 0, 0, 0, 0]


def test_noise_chooses_other_actions_under_another_seed_and_the_same_under_the_same() -> None:
    verbs, _ = make_verbs(wide)

    def taken(seed: int) -> tuple[int, ...]:
        root = search([make_problem("w")], verbs, gumbel(simulations=8, considered=2, seed=seed))[0].root
        return tuple(edge.visits for edge in root.edges)

    assert taken(1) == taken(1)
    assert len({taken(seed) for seed in range(6)}) > 1


def test_the_better_of_two_considered_actions_gets_the_simulations_left() -> None:
    verbs, _ = make_verbs(wide, chance=lambda state: 0.9 if turns_of(state)[:1] == ("call:c",) else 0.1)
    root = search([make_problem("w")], verbs, gumbel(simulations=48, considered=8, value_scale=1.0))[0].root
    assert max(root.edges, key=lambda edge: edge.visits).action.message.content == "call:c"


def test_where_all_actions_are_worth_the_same_the_target_is_the_prior() -> None:
    """Q stretched to [0, 1] would teach the noise between equal actions (learnt from the reference code's default)."""
    verbs, _ = make_verbs(wide, chance=lambda state: 0.3)
    chosen = gumbel(simulations=16, considered=4, price_lambda=0.0)
    root = search([make_problem("w")], verbs, chosen)[0].root
    assert improved_policy(root, chosen) == pytest.approx([0.125] * 8)


def test_small_differences_move_the_target_a_little_and_large_ones_much() -> None:
    def entropy(gap: float) -> float:
        verbs, _ = make_verbs(wide, chance=lambda s: 0.3 + gap if turns_of(s)[:1] == ("call:a",) else 0.3)
        chosen = gumbel(simulations=16, considered=8, price_lambda=0.0)
        target = improved_policy(search([make_problem("w")], verbs, chosen)[0].root, chosen)
        return -sum(p * math.log(p) for p in target)

    assert math.log(8) - 0.05 < entropy(0.03) < math.log(8)
    assert entropy(0.7) < math.log(8) - 0.3


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30))
def test_targets_sum_to_one_and_the_mixed_value_lies_among_what_was_seen(seed: int, simulations: int) -> None:
    verbs, _ = make_verbs(random_world(seed), chance=lambda state: 0.25)
    chosen = gumbel(simulations=simulations, max_depth=3)
    root = search([make_problem(f"p{seed}")], verbs, chosen)[0].root
    for _, node in walk(root):
        if node.edges:
            assert sum(improved_policy(node, chosen)) == pytest.approx(1.0)
            seen = [node.value, *(edge.q(0.0) for edge in node.edges if edge.visits)]
            assert min(seen) - 1e-9 <= mixed_value(node) <= max(seen) + 1e-9


def test_exhausted_root_actions_are_passed_over() -> None:
    verbs, _ = make_verbs(lambda state: [("wrong", 0.9), ("call:a", 0.1)])
    root = search([make_problem("x")], verbs, gumbel(simulations=4, considered=2))[0].root
    assert [edge.visits for edge in root.edges] == [1, 3]


def test_a_world_is_searched_to_its_end_whatever_the_rule() -> None:
    def nodes(selection: str) -> set[tuple[int, ...]]:
        verbs, _ = make_verbs(random_world(7))
        chosen = in_advance(**{"selection": selection, "simulations": 400, "max_depth": 3})
        root: Node = search([make_problem("p7")], verbs, chosen)[0].root
        assert not root.expandable
        return {node.path for _, node in walk(root)}

    assert nodes("puct") == nodes("gumbel")
