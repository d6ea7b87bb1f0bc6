"""Arguments written when a simulation goes there: the rules of the search hold, and nothing untried is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_search import in_advance, make_problem, make_verbs, random_world, turns_of

from components.schema.proposal import ProposalRequest
from components.schema.trajectory import ANSWER, State
from components.search.baselines import spent_by
from components.search.best import cheapest_correct
from components.search.greedy import greedy_successes
from components.search.mcts import search
from components.search.settings import SelfplaySettings
from components.search.tree import TOO_MANY, Node, Tree, action_key, walk
from components.search.verbs import Verbs

SEEDS = st.integers(0, 10_000)
RULES = st.sampled_from(["puct", "gumbel"])


def when_tried(**changes: object) -> SelfplaySettings:
    return SelfplaySettings.model_validate({"simulations": 20, "max_depth": 3, "most_arguments": 4, **changes})


def nodes(tree: Tree) -> list[Node]:
    return [node for _, node in walk(tree.root)]


def value(state: State) -> float:
    return 0.25 * len(turns_of(state)) / 4


def grow(seed: int, **changes: object) -> tuple[Tree, Verbs]:
    verbs, _ = make_verbs(random_world(seed), chance=value)
    return search([make_problem(f"p{seed}")], verbs, when_tried(**changes))[0], verbs


@settings(max_examples=80, deadline=None)
@given(SEEDS, st.integers(1, 40), st.integers(1, 4), RULES)
def test_every_simulation_makes_one_node_and_nothing_is_left_under_way(
    seed: int, simulations: int, leaves: int, rule: str
) -> None:
    tree, _ = grow(seed, simulations=simulations, leaves=leaves, selection=rule)
    for edge, node in walk(tree.root):
        assert all(way.virtual_loss == 0 for way in node.ways)
        assert edge is None or edge.visits == node.visits == 1 + sum(e.visits for e in node.edges)
    assert tree.root.visits == len(nodes(tree))
    assert len(nodes(tree)) == 1 + simulations or not tree.root.expandable
    assert sorted(node.simulation for node in nodes(tree)) == list(range(len(nodes(tree))))


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 40))
def test_what_is_written_was_tried_and_all_priors_of_a_node_sum_to_one(seed: int, simulations: int) -> None:
    tree, _ = grow(seed, simulations=simulations)
    for node in nodes(tree):
        assert all(edge.child is not None for edge in node.edges)
        keys = [action_key(edge.action) for edge in node.edges]
        assert len(keys) == len(set(keys))
        if node.ways:
            assert sum(way.prior for way in node.ways) == pytest.approx(1.0)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 40))
def test_a_decision_is_drawn_from_until_it_has_its_samples_or_repeats_itself(seed: int, simulations: int) -> None:
    tree, _ = grow(seed, simulations=simulations, most_arguments=5)
    for node in nodes(tree):
        drawn = Counter({blank.decision: blank.draws for blank in node.blanks})
        for edge in node.edges:
            drawn[edge.decision] += edge.draws * (edge.decision not in {blank.decision for blank in node.blanks})
        still = {blank.decision for blank in node.blanks}
        for decision, draws in drawn.items():
            repeats = draws - sum(edge.decision == decision for edge in node.edges)
            assert (decision in still) == (draws < 5 and repeats < TOO_MANY)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 30))
def test_the_search_agrees_with_a_slow_one_that_remembers_only_what_it_did(seed: int, simulations: int) -> None:
    tree, verbs = grow(seed, simulations=simulations)
    slow = Slow(verbs, make_problem(f"p{seed}"), when_tried(simulations=simulations))
    assert slow.visits() == {
        tuple(turns_of(node.state)): edge.visits for edge, node in walk(tree.root) if edge is not None
    }


class Slow:
    """PUCT with blanks, no statistics kept: everything is worked out anew from the list of samples that were drawn.

    A state is named by the turns that lead to it. A draw is (state, decision, turn); a simulation is a draw of a turn
    that was not drawn there before, and returns the value of the state behind it.
    """

    def __init__(self, verbs: Verbs, problem: object, chosen: SelfplaySettings) -> None:
        self.verbs, self.chosen = verbs, chosen
        self.draws: list[tuple[tuple[str, ...], str, str]] = []
        whole = chosen.model_copy(update={"simulations": 10_000, "widening": 1.0})
        root = search([problem], verbs, whole)[0].root  # type: ignore[list-item]
        # the whole finite world, for its states and values; what is drawn there is a function of state and number
        self.states = {tuple(turns_of(node.state)): node for _, node in walk(root)}
        self.made: list[tuple[str, ...]] = []
        while len(self.made) < chosen.simulations and self.open(()):
            self.step()

    def masses(self, at: tuple[str, ...]) -> dict[str, float]:
        node = self.states[at]
        if node.terminal or len(at) >= self.chosen.max_depth or self.verbs.decide is None:
            return {}
        return dict(self.verbs.decide([node.state])[0].probs)

    def drawn(self, at: tuple[str, ...], decision: str) -> list[str]:
        return [turn for where, what, turn in self.draws if where == at and what == decision]

    def blank(self, at: tuple[str, ...], decision: str) -> bool:
        drawn = self.drawn(at, decision)
        return len(drawn) < self.chosen.most_arguments and len(drawn) - len(set(drawn)) < TOO_MANY

    def open(self, at: tuple[str, ...]) -> bool:
        known = [one for one in self.made if one[:-1] == at]
        return any(self.blank(at, d) for d in self.masses(at)) or any(self.open(one) for one in known)

    def through(self, at: tuple[str, ...]) -> list[float]:
        return [self.states[one].value for one in self.made if one[: len(at)] == at]

    def step(self) -> None:
        at: tuple[str, ...] = ()
        while True:
            total = len(self.through(at)) if at else 1 + len(self.made)
            ways = []
            for one in self.made:
                if one[:-1] == at:
                    decision = ANSWER if not one[-1].startswith("call:") else "search"
                    drawn = self.drawn(at, decision)
                    share = self.masses(at)[decision] / (len(drawn) + self.blank(at, decision))
                    returns = self.through(one)
                    q, prior = sum(returns) / len(returns), share * drawn.count(one[-1])
                    rank = list(dict.fromkeys(drawn)).index(one[-1])
                    ways.append((q, prior, len(returns), rank, self.open(one), one))
            likeliest = sorted(self.masses(at).items(), key=lambda pair: -pair[1])
            for decision, mass in likeliest:
                if self.blank(at, decision):
                    drawn = self.drawn(at, decision)
                    same = [r for turn in set(drawn) for r in self.through((*at, turn))]
                    q = (self.states[at].value + sum(same)) / (1 + len(same))
                    ways.append((q, mass / (len(drawn) + 1), 0, len(set(drawn)), True, decision))
            live = [way for way in ways if way[4]]
            width = [way for way in live if way[3] < max(1, int(total**self.chosen.widening))] or live
            best = max(width, key=lambda way: way[0] + self.chosen.c_puct * way[1] * total**0.5 / (1 + way[2]))
            if isinstance(best[5], tuple):
                at = best[5]
                continue
            turn = self.written(at, best[5])
            new = turn not in self.drawn(at, best[5])
            self.draws.append((at, best[5], turn))
            if new:
                self.made.append((*at, turn))
            return

    def written(self, at: tuple[str, ...], decision: str) -> str:
        request = ProposalRequest(self.states[at].state, 0, decision, len(self.drawn(at, decision)))
        return self.verbs.propose([request])[0][0].action.message.content

    def visits(self) -> dict[tuple[str, ...], int]:
        return {one: len(self.through(one)) for one in self.made}


def many_calls(state: State) -> Sequence[tuple[str, float]]:
    if len(turns_of(state)) < 2:
        return [("call:a", 0.4), ("call:b", 0.2), ("call:c", 0.1), ("wrong", 0.2), ("worse", 0.1)]
    return [("right" if turns_of(state) == ("call:a", "call:b") else "wrong", 1.0)]


def test_no_token_is_written_for_what_is_never_tried_and_both_ways_find_the_answer() -> None:
    spent = {}
    for name, chosen in (("advance", in_advance(simulations=40)), ("tried", when_tried(simulations=40))):
        verbs, _ = make_verbs(many_calls)
        tree = search([make_problem("m")], verbs, chosen)[0]
        assert tree.root.solved
        spent[name] = spent_by(tree).tokens / len(nodes(tree))
    assert spent["tried"] < spent["advance"]


def test_all_blanks_of_a_round_are_written_together_and_all_leaves_decided_together() -> None:
    verbs, counts = make_verbs(many_calls)
    search([make_problem(f"n{i}") for i in range(5)], verbs, when_tried(simulations=3))
    assert counts.decided[0] == 5
    assert counts.proposed == counts.stepped == [5, 5, 5]


def test_a_tree_does_not_depend_on_the_trees_grown_beside_it() -> None:
    problems = [make_problem(f"n{i}") for i in range(6)]
    verbs, _ = make_verbs(random_world(4), chance=value)
    together = search(problems, verbs, when_tried())
    alone = [search([problem], verbs, when_tried())[0] for problem in problems]
    for one, other in zip(together, alone, strict=True):
        left, right = ([(n.path, n.simulation, n.visits, n.value) for n in nodes(tree)] for tree in (one, other))
        assert left == right


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 30))
def test_the_policy_alone_goes_the_same_way_whatever_was_searched(seed: int, simulations: int) -> None:
    verbs, _ = make_verbs(random_world(seed), chance=value)
    asked = [when_tried(simulations=simulations), when_tried(simulations=1), when_tried(stop_outdone=True)]
    found = {tuple(greedy_successes(search([make_problem("g")], verbs, one), verbs, one)) for one in asked}
    assert len(found) == 1


def test_the_policy_alone_leaves_the_tree_as_it_was() -> None:
    verbs, _ = make_verbs(many_calls)
    trees = search([make_problem("g")], verbs, when_tried(simulations=1))
    before = [(len(node.edges), len(node.blanks), node.visits, node.written_tokens) for node in nodes(trees[0])]
    greedy_successes(trees, verbs, when_tried(simulations=1))
    assert before == [(len(node.edges), len(node.blanks), node.visits, node.written_tokens) for node in nodes(trees[0])]


def test_blanks_need_a_policy_that_decides() -> None:
    verbs, _ = make_verbs(many_calls)
    with pytest.raises(ValueError, match="arguments_per_tool"):
        search([make_problem("m")], replace(verbs, decide=None), when_tried())


# What cannot be better is left ----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(SEEDS, RULES, st.sampled_from([0.01, 0.05, 0.1, 0.3]))
def test_leaving_what_gains_too_little_loses_at_most_that(seed: int, rule: str, least: float) -> None:
    whole, verbs = grow(seed, simulations=2000, selection=rule)
    less, _ = grow(seed, simulations=2000, selection=rule, stop_outdone=True, least_gain=least)
    assert less.root.solved == whole.root.solved
    assert len(nodes(less)) <= len(nodes(whole))
    if whole.root.solved:
        best, found = (min(verbs.units(n.state.spent) for n in nodes(t) if n.success) for t in (whole, less))
        assert found - best <= least / when_tried().price_lambda + 1e-9


def test_where_cost_does_not_count_the_first_answer_ends_a_tree_that_asks_for_gains() -> None:
    assert when_tried(stop_outdone=True, least_gain=0.2, price_lambda=0.1).least_saving == pytest.approx(2.0)
    assert when_tried(stop_outdone=True, least_gain=0.2, price_lambda=0.0).least_saving == float("inf")
    assert when_tried(price_lambda=0.0).least_saving == 0.0


def test_a_least_gain_that_would_stop_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="stop_outdone: true"):
        when_tried(least_gain=0.2)


@settings(max_examples=150, deadline=None)
@given(SEEDS, RULES)
def test_leaving_what_is_outdone_loses_no_cheaper_answer(seed: int, rule: str) -> None:
    """Searched to the end, the cheapest answer costs the same; and no more is tried."""
    whole, verbs = grow(seed, simulations=2000, selection=rule)
    less, _ = grow(seed, simulations=2000, selection=rule, stop_outdone=True)
    best = [cheapest_correct(tree, policy_id="p", seed=0, units=verbs.units) for tree in (whole, less)]
    costs = [None if one is None else verbs.units(one.outcome.cost) for one in best]
    assert costs[0] == costs[1]
    assert len(nodes(less)) <= len(nodes(whole))
    assert not less.root.expandable


def test_a_free_answer_ends_the_search_at_once() -> None:
    verbs, _ = make_verbs(lambda state: [("right", 0.9), ("call:a", 0.1)])
    tree = search([make_problem("f")], verbs, when_tried(stop_outdone=True))[0]
    assert len(nodes(tree)) == 2
    assert not tree.root.expandable
    assert not tree.root.dead_end


def test_states_that_cost_as_much_as_the_answer_are_marked() -> None:
    def world(state: State) -> Sequence[tuple[str, float]]:
        calls = {(): [("call:a", 0.6), ("wrong", 0.4)], ("call:a",): [("call:b", 0.6), ("right", 0.4)]}
        return calls.get(turns_of(state), [("wrong", 1.0)])

    verbs, _ = make_verbs(world, chance=lambda state: 0.5 if len(turns_of(state)) == 2 else 0.2)
    tree = search([make_problem("o")], verbs, when_tried(simulations=30, stop_outdone=True))[0]
    marked = {turns_of(node.state) for node in nodes(tree) if node.outdone}
    assert tree.root.solved
    assert ("call:a",) in marked
    assert () not in marked
    assert all(verbs.units(node.state.spent) >= 1.0 for node in nodes(tree) if node.outdone)
