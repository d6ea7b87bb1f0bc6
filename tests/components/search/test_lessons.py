"""What searched trees teach: only what was tried, and thresholds cost no more than they may."""

from __future__ import annotations

from toy_search import in_advance, make_problem, make_verbs, random_world

from components.environment.step import start
from components.search import lessons
from components.search.lessons import Lesson
from components.search.mcts import search
from components.search.tree import walk

PROBLEMS = [make_problem(f"p{index}") for index in range(9)]
VERBS = make_verbs(random_world(5))[0]
TREES = search(PROBLEMS, VERBS, in_advance(simulations=10, trees=4, max_depth=3))


def told(*states: tuple[float, bool], visits: int = 9, at_root: bool = False) -> tuple[list[Lesson], list[float]]:
    """States with a p-hat and whether they were solved."""
    state = start(PROBLEMS[0])
    return [Lesson(state, solved, None, at_root, visits) for _, solved in states], [p for p, _ in states]


def test_a_state_teaches_where_something_was_tried_whether_an_answer_was_found_below() -> None:
    found = lessons.lessons(TREES, VERBS.units)
    tried = [(tree, node) for tree in TREES for _, node in walk(tree.root) if node.edges and node.visits > 1]
    assert [lesson.state for lesson in found] == [node.state for _, node in tried]
    assert [lesson.solved for lesson in found] == [any(e.success for _, e in walk(node)) for _, node in tried]
    assert [lesson.visits for lesson in found] == [node.visits for _, node in tried]
    assert sum(lesson.at_root for lesson in found) == sum(tree.root.visits > 1 for tree in TREES) > 0
    assert 0 < sum(lesson.solved for lesson in found) < len(found)


def test_the_cost_to_go_is_what_the_ends_below_took_on_average() -> None:
    for lesson in lessons.lessons(TREES, VERBS.units):
        nodes = [node for tree in TREES for _, node in walk(tree.root) if node.state is lesson.state]
        ends = [VERBS.units(end.state.spent) for _, end in walk(nodes[0]) if end.state.done]
        if ends:
            expected = sum(ends) / len(ends) - VERBS.units(lesson.state.spent)
            assert lesson.cost_to_go is not None
            assert abs(lesson.cost_to_go - expected) < 1e-9
        else:
            assert lesson.cost_to_go is None


def test_a_threshold_lies_where_the_first_states_lead_to_answers() -> None:
    states = [(0.01 * n, n in {30, 35, 40}) for n in range(50)]
    assert lessons.threshold(*told(*states), min_visits=8) == 0.30


def test_one_state_in_a_hundred_below_the_threshold_may_lead_to_an_answer() -> None:
    states = [(0.001 * n, n in {50, 120, 180}) for n in range(200)]
    assert lessons.threshold(*told(*states), min_visits=8) == 0.12, "1 of 100 to 120 is good, 2 of 121 are too many"
    assert lessons.TOLERATED == 0.01


def test_neither_roots_nor_states_that_were_hardly_tried_tell_about_dead_ends() -> None:
    states = [(0.1, False), (0.2, True), (0.3, False)]
    assert lessons.threshold(*told(*states), min_visits=8) == 0.2
    assert lessons.threshold(*told(*states, visits=7), min_visits=8) == 0.0
    assert lessons.threshold(*told(*states, at_root=True), min_visits=8) == 0.0
    assert lessons.threshold([], [], min_visits=8) == 0.0


def test_enough_simulations_are_those_of_the_last_tree_that_is_needed() -> None:
    first = sorted(
        min(node.simulation for _, node in walk(tree.root) if node.success) for tree in TREES if tree.root.solved
    )
    for solved in range(1, len(first) + 1):
        assert lessons.enough_simulations(TREES, solved, most=10) == max(1, first[solved - 1])
    assert lessons.enough_simulations(TREES, len(first) + 1, most=10) == 10, "they never solve so many"
    assert lessons.enough_simulations(TREES, 0, most=10) == 10
