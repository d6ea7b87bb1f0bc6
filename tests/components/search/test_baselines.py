"""Baselines: plays at matched compute, and the exact ceiling on puzzles."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from toy_search import in_advance, make_action, make_problem, make_verbs, random_world

from components.curation.family_puzzle import puzzle_problems, solve
from components.reward.checkers import check
from components.schema.identity import stable_hash
from components.schema.problem import CheckerSpec, Problem
from components.schema.proposal import Proposal
from components.schema.trajectory import State
from components.search.baselines import Plays, Spent, best_of_n, rejection_sampled, sample_within, spent_by
from components.search.exhaustive import exhaust
from components.search.mcts import search
from components.search.tree import walk

VERBS, _ = make_verbs(random_world(5))
PROBLEMS = [make_problem(f"p{index}") for index in range(6)]


def act(states: Sequence[State], *, seeds: Sequence[int]) -> list[Proposal]:
    """One of three turns, by the seed."""
    turns = ("call:a", "right", "wrong")
    return [Proposal(make_action(turns[random.Random(seed).randrange(3)]), 1.0, context_tokens=7) for seed in seeds]


def sampled(budget: Spent, problems: Sequence[Problem] = PROBLEMS, *, seed: int = 0) -> tuple[Plays, ...]:
    budgets = [budget] * len(problems)
    return sample_within(problems, budgets, act, VERBS, max_depth=3, policy_id="x", seed=seed)


def test_sampling_stops_with_the_play_in_which_tokens_or_calls_run_out() -> None:
    budget = Spent(tokens=90, calls=100)
    for plays in sampled(budget):
        assert plays.spent.tokens >= budget.tokens
        assert plays.spent.tokens - budget.tokens < 3 * (7 + 6)  # less than one play of three turns
    for plays in sampled(Spent(tokens=10_000, calls=4)):
        assert 4 < plays.spent.calls <= 4 + 3
        assert plays.spent.calls == sum(one.outcome.cost.calls for one in plays.trajectories)


def test_there_is_at_least_one_play() -> None:
    assert {len(plays.trajectories) for plays in sampled(Spent())} == {1}


def test_plays_do_not_depend_on_who_plays_beside_them_and_differ_among_themselves() -> None:
    together = sampled(Spent(200, 50))
    alone = [sampled(Spent(200, 50), [problem])[0] for problem in PROBLEMS]
    assert list(together) == alone
    assert len({one.outcome.answer for one in together[0].trajectories}) > 1
    assert sampled(Spent(200, 50), seed=1) != together


def test_a_shared_prompt_is_read_once_and_later_turns_add_what_is_new() -> None:
    one = sampled(Spent(), [PROBLEMS[0]])[0]
    written = sum(len(t.action.message.token_ids or ()) for t in one.trajectories[0].transitions)
    assert one.spent.tokens == 7 + written  # the toy's contexts never grow beyond what was written
    many = sampled(Spent(300, 90), [PROBLEMS[0]])[0]
    written = sum(len(t.action.message.token_ids or ()) for p in many.trajectories for t in p.transitions)
    assert many.spent.tokens == 7 + written


def test_a_tree_has_spent_what_was_proposed_and_called_in_it() -> None:
    tree = search([PROBLEMS[0]], VERBS, in_advance(simulations=12, max_depth=3))[0]
    spent = spent_by(tree)
    nodes = [node for _, node in walk(tree.root)]
    assert spent.calls == sum(len(node.transition.results) for node in nodes if node.transition is not None) > 0
    assert spent.tokens >= sum(node.written_tokens for node in nodes) + 7


def test_best_of_n_takes_what_most_agree_on_and_rejection_sampling_what_is_right_and_cheap() -> None:
    plays = next(
        plays for plays in sampled(Spent(400, 90)) if len({one.outcome.success for one in plays.trajectories}) == 2
    )
    answers = [one.outcome.answer for one in plays.trajectories if one.outcome.answer]
    agreed = best_of_n(plays).outcome.answer
    assert answers.count(agreed) == max(answers.count(answer) for answer in answers)
    kept = rejection_sampled(plays, VERBS.units)
    assert kept is not None
    assert kept.outcome.success
    right = [one for one in plays.trajectories if one.outcome.success]
    assert VERBS.units(kept.outcome.cost) == min(VERBS.units(one.outcome.cost) for one in right)
    wrong = replace(plays, trajectories=tuple(one for one in plays.trajectories if not one.outcome.success))
    assert rejection_sampled(wrong, VERBS.units) is None


def puzzle(numbers: list[int], target: int, *, use_all: bool) -> Problem:
    settings = {"numbers": numbers, "target": target, "use_all": use_all}
    made = make_problem(stable_hash([numbers, target, use_all]))
    return replace(made, checker=CheckerSpec("expression", settings))


def test_every_generated_puzzle_is_solved_and_the_checker_agrees() -> None:
    for problem in puzzle_problems(60, 0):
        found = exhaust(problem, check)
        assert found is not None
        assert found.outcome.success is True


def test_solutions_through_fractions_and_negative_numbers_are_found() -> None:
    assert solve([3, 3, 8, 8], 24) is None  # the generator only goes through positive whole numbers
    found = exhaust(puzzle([3, 3, 8, 8], 24, use_all=True), check)
    assert found is not None
    assert found.outcome.success is True
    assert exhaust(puzzle([2, 5], -3, use_all=True), check) is not None


def test_what_has_no_solution_has_none() -> None:
    assert exhaust(puzzle([1, 1, 1, 1], 24, use_all=True), check) is None
    assert exhaust(puzzle([7], 7, use_all=False), check) is None  # a number alone is no expression


def test_all_numbers_are_used_only_where_they_must_be() -> None:
    assert exhaust(puzzle([2, 3, 50], 6, use_all=False), check) is not None
    assert exhaust(puzzle([2, 3, 50], 6, use_all=True), check) is None


def test_other_problems_are_refused() -> None:
    with pytest.raises(ValueError, match="judged by phrase"):
        exhaust(make_problem("x"), check)
