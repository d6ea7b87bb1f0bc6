"""What travels up a tree, and how it widens, prunes and takes several leaves at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_search import CALL_COST, in_advance, make_action, make_problem, make_verbs, random_world, turns_of

from components.schema.cost import Cost
from components.schema.message import ToolResult
from components.schema.proposal import Proposal, ProposalRequest
from components.schema.trajectory import ANSWER, Action, Plan, State, Transition
from components.search.audit import audit
from components.search.greedy import greedy_successes
from components.search.mcts import search
from components.search.rows import Provenance, as_mapping, tree_rows
from components.search.settings import SelfplaySettings
from components.search.summary import summarise
from components.search.tree import Node, Tree, action_key, walk
from components.search.verbs import Verbs
from components.search.worth import Worth, uninformed

SEEDS = st.integers(0, 10_000)
RULES = st.sampled_from(["puct", "gumbel"])


def chosen(**changes: object) -> SelfplaySettings:
    return in_advance(**{"simulations": 20, "max_depth": 3, **changes})


def nodes(tree: Tree) -> list[Node]:
    return [node for _, node in walk(tree.root)]


# Several leaves of a tree at once ------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 7), RULES)
def test_virtual_loss_is_zero_after_search_and_every_simulation_made_a_node(seed: int, leaves: int, rule: str) -> None:
    verbs, counts = make_verbs(random_world(seed), chance=lambda state: 0.2)
    asked = chosen(leaves=leaves, selection=rule)
    tree = search([make_problem(f"p{seed}")], verbs, asked)[0]
    assert all(edge.virtual_loss == 0 for node in nodes(tree) for edge in node.edges)
    assert not any(node.blocked and node.expandable for node in nodes(tree))
    assert tree.root.visits == len(nodes(tree)) == 1 + sum(counts.stepped)
    assert len(nodes(tree)) == 21 or not tree.root.expandable
    assert sorted(node.simulation for node in nodes(tree)) == list(range(len(nodes(tree))))


def test_leaves_of_one_round_differ_and_go_to_the_model_together() -> None:
    verbs, counts = make_verbs(lambda state: [("call:a", 0.5), ("call:b", 0.3), ("call:c", 0.2)])
    search([make_problem("x")], verbs, chosen(simulations=8, leaves=4, arguments_per_tool=3))
    assert counts.stepped == [3, 4, 1]  # three edges at the root leave the fourth nowhere to go
    assert counts.proposed == [1, 3, 4]  # at the depth limit the model is not asked


# Solved, dead ends and expandable ------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 40), RULES)
def test_solved_and_dead_ends_are_what_lies_below_says(seed: int, simulations: int, rule: str) -> None:
    verbs, _ = make_verbs(random_world(seed))
    tree = search([make_problem(f"p{seed}")], verbs, chosen(simulations=simulations, selection=rule))[0]

    def below(node: Node) -> list[Node]:
        return [one for _, one in walk(node)]

    for node in nodes(tree):
        assert node.solved == any(one.success is True for one in below(node))
        untried = any(edge.child is None for one in below(node) for edge in one.edges)
        assert node.dead_end == (not node.solved and not untried)


SubTask = tuple[bool, ...]
"""Ways to answer a sub-task: whether each gets it done; the others end everything."""


def split_verbs(sub_tasks: Sequence[SubTask]) -> Verbs:
    """A world in which the only way to the answer is a split, whose sub-tasks are answered one after another."""
    names = tuple(f"task{index}" for index in range(len(sub_tasks)))

    def propose(requests: Sequence[ProposalRequest]) -> list[list[Proposal]]:
        return [[Proposal(action, 1.0, 7) for action in ways(request.state)] for request in requests]

    def ways(state: State) -> list[Action]:
        if not turns_of(state):
            return [make_action("call:split")]
        if not state.stack:
            return [make_action("right")]
        done = len(state.stack[-1].results)
        return [make_action(f"way{place}") for place in range(len(sub_tasks[done]))]

    def step(state: State, action: Action) -> tuple[State, Transition]:
        then = replace(state, messages=(*state.messages, action.message))
        if action.call is not None:
            split = Transition(action, (ToolResult("Split.", False, CALL_COST),), CALL_COST)
            return replace(then, stack=(Plan(names),)), split
        if not state.stack:
            return replace(then, done=True), Transition(action, (), Cost())
        (plan,), answer = state.stack, action.message.content
        good = sub_tasks[len(plan.results)][int(answer.removeprefix("way"))]
        told = Plan(names, (*plan.results, answer))
        stack = () if len(told.results) == len(names) else (told,)
        return replace(then, stack=stack, done=not good), Transition(action, (), Cost())

    return Verbs(
        propose=propose,
        value=uninformed,
        judge=lambda problem, answer: answer == "right",
        step_many=lambda states, actions, *, prompt_tokens: [step(*pair) for pair in zip(states, actions, strict=True)],
        units=lambda cost: cost.money + cost.seconds,
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=3).map(tuple), min_size=1, max_size=3))
def test_a_split_is_solved_when_all_sub_tasks_are_and_dead_when_one_is(sub_tasks: list[SubTask]) -> None:
    """The stack plays sub-tasks one after another; the tree must say what an explicit AND of ORs says."""
    tree = search([make_problem("split")], split_verbs(sub_tasks), chosen(simulations=200, max_depth=9))[0]
    split = tree.root.edges[0].child
    assert split is not None
    assert split.solved == all(any(ways) for ways in sub_tasks)
    assert split.dead_end == any(not any(ways) for ways in sub_tasks)
    assert not tree.root.expandable


def test_a_stack_of_tasks_is_worth_the_product_of_their_chances() -> None:
    verbs = split_verbs([(True,), (True,)])
    tree = search([make_problem("split")], verbs, chosen(simulations=9, max_depth=9, price_lambda=0.0))[0]
    assert [node.value for node in nodes(tree)] == [0.25, 0.25**3, 0.25**2, 0.25, 1.0]


@pytest.mark.parametrize("bad", [(1.5, 0.0), (-0.1, 0.0), (float("nan"), 0.0), (0.5, -1.0), (0.5, float("inf"))])
def test_a_worth_that_is_no_chance_or_no_cost_is_refused(bad: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="is not a"):
        Worth(*bad)


def test_the_value_of_a_state_is_its_chance_less_the_price_of_what_was_and_will_be_spent() -> None:
    verbs, _ = make_verbs(lambda state: [("call:a", 1.0)])
    costly = replace(verbs, value=lambda states: [Worth(0.5, 2.0) for _ in states])
    tree = search([make_problem("v")], costly, chosen(simulations=1, price_lambda=0.1))[0]
    assert [node.value for node in nodes(tree)] == pytest.approx([0.5 - 0.2, 0.5 - 0.1 - 0.2])


# Progressive widening -------------------------------------------------------------------------------------------------


def one_call(state: State) -> list[tuple[str, float]]:
    return [("call:a", 0.7), ("no", 0.3)] if len(turns_of(state)) < 2 else [("no", 1.0)]


def test_a_node_gets_new_samples_as_its_visits_grow_and_no_more_than_allowed() -> None:
    verbs, counts = make_verbs(one_call)
    tree = search([make_problem("w")], verbs, chosen(simulations=40, arguments_per_tool=1, most_arguments=3))[0]
    drawn = Counter(edge.action.decision for edge in tree.root.edges for _ in range(edge.draws))
    assert drawn == {"search": 3, ANSWER: 3}
    assert [edge.action.message.content for edge in tree.root.edges][:2] == ["call:a", "no"]
    assert {action_key(edge.action) for edge in tree.root.edges} == {
        '["answer", "more1"]',
        '["answer", "more2"]',
        '["answer", "no"]',
        '["search", {"query": "a"}]',
        '["search", {"query": "more1"}]',
        '["search", {"query": "more2"}]',
    }
    assert len(counts.proposed) <= 1 + len(counts.stepped)  # widening costs no batch of its own


def test_without_leave_to_widen_nothing_is_drawn_again() -> None:
    verbs, _ = make_verbs(one_call)
    tree = search([make_problem("w")], verbs, chosen(simulations=40, arguments_per_tool=1))[0]
    assert all(edge.draws == 1 for node in nodes(tree) for edge in node.edges)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(2, 8))
def test_widening_keeps_the_prior_of_each_decision_and_merges_equal_actions(seed: int, most: int) -> None:
    world = random_world(seed)
    verbs, _ = make_verbs(world)
    tree = search([make_problem(f"p{seed}")], verbs, chosen(simulations=30, most_arguments=most))[0]
    for node in nodes(tree):
        if not node.edges:
            continue
        keys = [action_key(edge.action) for edge in node.edges]
        assert len(keys) == len(set(keys))
        offered = world(node.state)
        for calls in (True, False):
            mass = sum(prior for turn, prior in offered if turn.startswith("call:") == calls)
            now = sum(edge.prior for edge in node.edges if (edge.action.call is not None) == calls)
            assert now == pytest.approx(mass / sum(prior for _, prior in offered))
        ranks = Counter((edge.action.decision, edge.rank) for edge in node.edges)
        assert set(ranks.values()) == {1}


# Pruning and its audit ------------------------------------------------------------------------------------------------


def doubtful(state: State) -> float:
    """A value that mistrusts all that begins with b, and is wrong about some of it."""
    return 0.01 if turns_of(state)[:1] == ("call:b",) else 0.5


def hidden_answer(state: State) -> list[tuple[str, float]]:
    """The answer is behind b in every other problem."""
    if not turns_of(state):
        return [("call:a", 0.5), ("call:b", 0.5)]
    lucky = Random(state.problem.problem_id).random() < 0.5
    return [("right" if turns_of(state) == ("call:b",) and lucky else "wrong", 1.0)]


def test_a_pruned_state_is_a_dead_end_whose_actions_were_never_asked_for() -> None:
    verbs, counts = make_verbs(hidden_answer, chance=doubtful)
    tree = search([make_problem("p")], verbs, chosen(prune_below=0.05))[0]
    (pruned,) = [node for node in nodes(tree) if node.pruned]
    assert (pruned.state.messages[-2].content, pruned.edges, pruned.dead_end) == ("call:b", [], True)
    assert pruned.value == pytest.approx(0.01 - 0.1)
    assert sum(counts.proposed) == 2  # the root and a


def test_the_root_is_never_pruned() -> None:
    verbs, _ = make_verbs(hidden_answer, chance=lambda state: 0.0)
    tree = search([make_problem("p")], verbs, chosen(prune_below=0.5))[0]
    assert (tree.root.pruned, len(nodes(tree))) == (False, 3)


def audited(share: float) -> tuple[list[Tree], Verbs, SelfplaySettings]:
    verbs, _ = make_verbs(hidden_answer, chance=doubtful)
    asked = chosen(prune_below=0.05, audit_share=share)
    trees = list(search([make_problem(f"p{index}") for index in range(40)], verbs, asked))
    audit(trees, verbs, asked)
    return trees, verbs, asked


def test_the_audit_tells_how_often_pruning_was_wrong() -> None:
    trees, verbs, asked = audited(1.0)
    truly = [Random(tree.root.state.problem.problem_id).random() < 0.5 for tree in trees]
    assert [node.audit for tree in trees for node in nodes(tree) if node.pruned] == truly
    made_by = Provenance("m", "d")
    rows = [
        row
        for tree in trees
        for row in tree_rows(tree, greedy_success=False, provenance=made_by, units=verbs.units, settings=asked)
    ]
    assert summarise(rows)["search/false_prune_rate"] == pytest.approx(sum(truly) / len(truly))
    assert summarise(rows)["search/pruned"] == len(trees)


def test_the_audit_takes_a_seeded_sample_and_leaves_the_trees_alone() -> None:
    def written(share: float) -> tuple[list[dict[str, object]], list[bool]]:
        trees, verbs, asked = audited(share)
        rows = [
            as_mapping(row)
            for tree in trees
            for row in tree_rows(
                tree, greedy_success=False, provenance=Provenance("m", "d"), units=verbs.units, settings=asked
            )
        ]
        marks = [row.pop("audit") is not None for row in rows]
        return rows, marks

    none, some, again, everything = written(0.0), written(0.3), written(0.3), written(1.0)
    assert none[0] == some[0] == everything[0]
    assert some == again
    assert 0 == sum(none[1]) < sum(some[1]) < sum(everything[1]) == 40


def test_the_policy_alone_goes_through_what_the_search_pruned() -> None:
    verbs, _ = make_verbs(lambda s: [("call:b", 1.0)] if not turns_of(s) else [("right", 1.0)], chance=doubtful)
    asked = chosen(prune_below=0.05)
    trees = search([make_problem("p")], verbs, asked)
    assert not trees[0].root.solved
    assert greedy_successes(trees, verbs, asked) == [True]
    assert trees[0].root.edges[0].child is not None
    assert trees[0].root.edges[0].child.edges == []
