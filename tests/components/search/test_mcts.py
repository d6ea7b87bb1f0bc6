"""Rules of the search, and a slow version that must agree with it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_search import in_advance, make_problem, make_verbs, random_world, turns_of

from components.schema.trajectory import State
from components.search.mcts import search
from components.search.puct import open_ways
from components.search.rows import Provenance, as_mapping, tree_rows
from components.search.settings import SelfplaySettings
from components.search.tree import Node, Tree, walk
from components.search.verbs import Verbs

GOLDEN = Path(__file__).parent
SEEDS = st.integers(0, 10_000)
SIMULATIONS = st.integers(1, 40)


def grow(seed: int, simulations: int, **changes: object) -> tuple[Tree, Verbs, SelfplaySettings]:
    chosen = in_advance(**{"simulations": simulations, "max_depth": 3, **changes})
    verbs, _ = make_verbs(random_world(seed), chance=lambda state: 0.25 * len(turns_of(state)) / 4)
    return search([make_problem(f"p{seed}")], verbs, chosen)[0], verbs, chosen


def inner(tree: Tree) -> list[Node]:
    return [node for _, node in walk(tree.root)]


@settings(max_examples=60, deadline=None)
@given(SEEDS, SIMULATIONS)
def test_visits_of_a_node_are_one_more_than_those_of_its_edges(seed: int, simulations: int) -> None:
    tree, _, _ = grow(seed, simulations)
    for edge, node in walk(tree.root):
        if edge is not None:
            assert edge.visits == node.visits == 1 + sum(e.visits for e in node.edges)
    assert tree.root.visits == len(inner(tree)) <= 1 + simulations


@settings(max_examples=60, deadline=None)
@given(SEEDS, SIMULATIONS)
def test_mean_returns_stay_between_minus_the_price_of_everything_and_one(seed: int, simulations: int) -> None:
    tree, verbs, chosen = grow(seed, simulations)
    most = max(verbs.units(node.state.spent) for node in inner(tree))
    for edge, node in walk(tree.root):
        assert -chosen.price_lambda * most <= node.value <= 1.0
        if edge is not None:
            assert -chosen.price_lambda * most - 1e-9 <= edge.value_sum / edge.visits <= 1.0


@settings(max_examples=60, deadline=None)
@given(SEEDS, SIMULATIONS)
def test_terminal_nodes_are_visited_once_and_never_again(seed: int, simulations: int) -> None:
    tree, _, _ = grow(seed, simulations)
    for edge, node in walk(tree.root):
        if node.terminal:
            assert edge is not None
            assert edge.visits == 1
            assert not node.edges
            assert not node.expandable


@settings(max_examples=60, deadline=None)
@given(SEEDS, SIMULATIONS)
def test_a_node_is_expandable_exactly_while_something_below_is_untried(seed: int, simulations: int) -> None:
    tree, _, chosen = grow(seed, simulations)

    def untried(node: Node) -> bool:
        return any(edge.child is None or untried(edge.child) for edge in node.edges)

    assert all(node.expandable == untried(node) for node in inner(tree))
    if tree.root.expandable:
        assert tree.root.visits == 1 + chosen.simulations


@settings(max_examples=40, deadline=None)
@given(SEEDS, SIMULATIONS)
def test_only_the_best_sqrt_visits_of_a_decision_are_tried_while_one_is_open(seed: int, simulations: int) -> None:
    tree, _, _ = grow(seed, simulations)
    for node in inner(tree):
        chosen = open_ways(node, node.visits, in_advance())
        within = [edge for edge in node.edges if edge.expandable and edge.rank < math.isqrt(node.visits)]
        assert chosen == (within or [edge for edge in node.edges if edge.expandable])


@settings(max_examples=60, deadline=None)
@given(SEEDS, SIMULATIONS)
def test_the_search_agrees_with_a_slow_one_that_remembers_only_its_paths(seed: int, simulations: int) -> None:
    tree, verbs, chosen = grow(seed, simulations)
    slow = slow_visits(make_problem(f"p{seed}"), verbs, chosen)
    fast = {node.path: edge.visits for edge, node in walk(tree.root) if edge is not None}
    assert fast == slow


def slow_visits(problem: object, verbs: Verbs, chosen: SelfplaySettings) -> dict[tuple[int, ...], int]:
    """Visits by path, no statistics kept: counts, sums and expandability are worked out anew from all past leaves."""
    root = search([problem], verbs, chosen.model_copy(update={"simulations": 10_000}))[0].root  # type: ignore[list-item]
    everything = {node.path: node for _, node in walk(root)}  # the whole finite world, for its edges and values
    past: list[tuple[int, ...]] = []

    def visits(path: tuple[int, ...]) -> int:
        return sum(leaf[: len(path)] == path for leaf in past)

    def q(path: tuple[int, ...]) -> float:
        through = [everything[leaf].value for leaf in past if leaf[: len(path)] == path]
        return sum(through) / len(through) if through else everything[path[:-1]].value

    def open_(path: tuple[int, ...]) -> bool:
        return path not in past or any(open_((*path, i)) for i in range(len(everything[path].edges)))

    def best(path: tuple[int, ...]) -> tuple[int, ...]:
        edges, total = everything[path].edges, 1 + sum(leaf[: len(path)] == path and leaf != path for leaf in past)
        live = [i for i in range(len(edges)) if open_((*path, i))]
        width = [i for i in live if edges[i].rank < int(total**0.5)] or live
        scores = {
            i: q((*path, i)) + chosen.c_puct * edges[i].prior * total**0.5 / (1 + visits((*path, i))) for i in width
        }
        return (*path, max(scores, key=lambda i: scores[i]))

    for _ in range(chosen.simulations):
        if not any(open_((i,)) for i in range(len(root.edges))):
            break
        path: tuple[int, ...] = ()
        while path == () or path in past:
            path = best(path)
        past.append(path)
    return {path: visits(path) for path in everything if path and visits(path)}


def needle_world(state: State) -> Sequence[tuple[str, float]]:
    """27 paths of three calls, then an answer that is right on one path only: the one the policy likes least."""
    turns = turns_of(state)
    if len(turns) < 3:
        return [("call:a", 0.6), ("call:b", 0.3), ("call:c", 0.1)]
    return [("right" if turns == ("call:c",) * 3 else "wrong", 1.0)]


def test_the_only_winning_leaf_is_found_given_enough_simulations() -> None:
    verbs, _ = make_verbs(needle_world)
    tree = search([make_problem("needle")], verbs, in_advance(simulations=500, max_depth=4))[0]
    assert sum(node.success is True for node in inner(tree)) == 1
    assert len(inner(tree)) == 1 + 3 + 9 + 27 + 27
    assert not tree.root.expandable


def test_a_value_that_smells_the_needle_finds_it_sooner() -> None:
    def smell(state: State) -> float:
        return 0.9 if all(turn == "call:c" for turn in turns_of(state)) else 0.0

    found = {}
    for name, chance in (("blind", lambda state: 0.0), ("guided", smell)):
        verbs, _ = make_verbs(needle_world, chance=chance)
        chosen = in_advance(simulations=500, max_depth=4, c_puct=0.3)
        tree = search([make_problem("needle")], verbs, chosen)[0]
        found[name] = next(node.simulation for node in inner(tree) if node.success)
    assert found["guided"] < found["blind"] / 1.5


def test_an_unfinished_leaf_at_the_depth_limit_is_a_dead_end_worth_its_price() -> None:
    verbs, counts = make_verbs(lambda state: [("call:a", 1.0)], chance=lambda state: 0.9)
    tree = search([make_problem("deep")], verbs, in_advance(simulations=9, max_depth=2, price_lambda=0.1))[0]
    last = inner(tree)[-1]
    assert (len(last.path), last.terminal, last.expandable, last.success) == (2, False, False, None)
    assert last.value == pytest.approx(-0.2)
    assert not tree.root.expandable
    assert counts.proposed == [1, 1]


def test_the_model_is_asked_once_a_round_for_all_trees_and_the_tools_run_together() -> None:
    verbs, counts = make_verbs(needle_world)
    problems = [make_problem(f"n{i}") for i in range(5)]
    search(problems, verbs, in_advance(simulations=4, trees=5))
    assert counts.proposed == [5, 5, 5, 5, 5]
    assert counts.stepped == [5, 5, 5, 5]


def test_a_tree_does_not_depend_on_the_trees_grown_beside_it() -> None:
    verbs, _ = make_verbs(random_world(4))
    problems = [make_problem(f"n{i}") for i in range(6)]
    chosen = in_advance(simulations=15)
    together = search(problems, verbs, chosen)
    alone = [search([problem], verbs, chosen)[0] for problem in problems]
    assert [rows_of(tree, verbs) for tree in together] == [rows_of(tree, verbs) for tree in alone]


def test_the_same_problem_twice_in_one_lockstep_is_refused() -> None:
    verbs, _ = make_verbs(needle_world)
    with pytest.raises(ValueError, match="occurs twice"):
        search([make_problem("n"), make_problem("n")], verbs, in_advance())


def test_a_value_that_is_no_chance_is_refused() -> None:
    verbs, _ = make_verbs(needle_world, chance=lambda state: 1.5)
    with pytest.raises(ValueError, match="not a chance"):
        search([make_problem("n")], verbs, in_advance())


def test_a_policy_with_nothing_to_propose_leaves_a_root_alone() -> None:
    verbs, counts = make_verbs(lambda state: [])
    tree = search([make_problem("mute")], verbs, in_advance())[0]
    assert (tree.root.visits, tree.root.expandable, counts.stepped) == (1, False, [])


def rows_of(tree: Tree, verbs: Verbs) -> list[dict[str, object]]:
    made_by = Provenance("model", "data")
    made = tree_rows(tree, greedy_success=False, provenance=made_by, units=verbs.units, settings=in_advance())
    return [as_mapping(row) for row in made]


def scripted(state: State) -> Sequence[tuple[str, float]]:
    """A policy that guesses first, and finds the answer after the right two searches."""
    script = {
        (): [("guess", 0.5), ("call:capital", 0.3), ("call:weather", 0.2)],
        ("call:capital",): [("call:area", 0.6), ("call:area", 0.1), ("wrong", 0.3)],
        ("call:capital", "call:area"): [("right", 0.8), ("wrong", 0.2)],
        ("call:weather",): [("sunny", 1.0)],
    }
    return script.get(turns_of(state), [("lost", 1.0)])


@pytest.mark.parametrize("arguments", ["in_advance", "when_tried"])
@pytest.mark.parametrize("selection", ["puct", "gumbel"])
def test_a_small_tree_is_the_golden_one(selection: str, arguments: str) -> None:
    """The file changes only with the algorithm or the row: write `rounded` to it again, and say why in the commit."""
    asked = in_advance(simulations=6, selection=selection)
    if arguments == "when_tried":
        asked = SelfplaySettings(simulations=6, selection=selection)
    verbs, _ = make_verbs(scripted, chance=lambda state: 0.5 if len(turns_of(state)) == 2 else 0.1)
    tree = search(
        [make_problem("golden", prompt="The area of the country whose capital is X?")],
        verbs,
        asked,
    )[0]
    rounded = [
        {name: round(value, 9) if isinstance(value, float) else value for name, value in row.items()}
        for row in rows_of(tree, verbs)
    ]
    golden = json.loads((GOLDEN / f"golden_{selection}_{arguments}.json").read_text(encoding="utf-8"))
    assert json.loads(json.dumps(rounded)) == golden
