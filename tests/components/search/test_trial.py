"""Search tried against its rivals: every arm plays the same problems, and thresholds cost what they may."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from toy_search import in_advance, make_action, make_problem, make_verbs, random_world

from components.curation.family_puzzle import puzzle_problems
from components.reward.checkers import check
from components.schema.proposal import Proposal
from components.schema.trajectory import State
from components.search import trial
from components.search.verbs import Verbs

PROBLEMS = [make_problem(f"p{index}") for index in range(9)]
CHOSEN = in_advance(simulations=10, trees=4, max_depth=3)


def act(states: Sequence[State], *, seeds: Sequence[int]) -> list[Proposal]:
    turns = ("call:a", "right", "wrong")
    return [Proposal(make_action(turns[random.Random(seed).randrange(3)]), 1.0, context_tokens=7) for seed in seeds]


def promising(state: State) -> float:
    """A chance that says little, but not nothing, about the world."""
    return random.Random(len(state.messages) * 31 + len(state.problem.problem_id)).random()


def verbs(seed: int = 5) -> Verbs:
    return replace(make_verbs(random_world(seed), chance=promising)[0], act=act)


def test_all_arms_play_the_same_problems_and_sampling_gets_what_the_tree_used() -> None:
    trees = trial.grown(PROBLEMS, verbs(), CHOSEN)
    searched = trial.searched("search", trees, verbs())
    greedy, both = trial.greedy(trees, verbs(), CHOSEN), trial.sampled(trees, verbs(), CHOSEN)
    names = [problem.problem_id for problem in PROBLEMS]
    for arm in (searched, greedy, both[::2], both[1::2]):
        assert [one.problem_id for one in arm] == names
    assert {one.arm for one in both[::2]} == {"sampled"}
    assert {one.arm for one in both[1::2]} == {"agreed"}
    for tree, plays in zip(searched, both[::2], strict=True):
        assert (plays.tokens or 0) >= (tree.tokens or 0) or (plays.calls or 0) > (tree.calls or 0)
    assert all(one.solved <= tree.solved for one, tree in zip(greedy, searched, strict=True))
    assert any(one.solved for one in searched)
    assert trial.simulations(trees) == sum(tree.root.visits - 1 for tree in trees) > 0


def test_nothing_is_sampled_without_a_policy_that_acts() -> None:
    silent, _ = make_verbs(random_world(5))
    with pytest.raises(ValueError, match="act"):
        trial.sampled(trial.grown(PROBLEMS[:1], silent, CHOSEN), silent, CHOSEN)


def test_the_ceiling_is_of_puzzles_alone_and_reaches_all_that_can_be_solved() -> None:
    puzzles = list(puzzle_problems(6, 0))
    assert [one.solved for one in trial.ceiling([*PROBLEMS, *puzzles], check)] == [True] * 6


def test_stopping_uses_fewer_tokens_and_tells_how_often_it_was_wrong() -> None:
    whole = trial.searched("search", trial.grown(PROBLEMS, verbs(), CHOSEN), verbs())
    rows, figures = trial.stopped(PROBLEMS, verbs(), CHOSEN, below=0.9, simulations=10)
    bounded, stopped = rows[: len(PROBLEMS)], rows[len(PROBLEMS) :]
    assert ({one.arm for one in bounded}, {one.arm for one in stopped}) == ({"bounded"}, {"pruned"})
    assert sum(one.tokens or 0 for one in stopped) < sum(one.tokens or 0 for one in whole)
    assert sum(one.tokens or 0 for one in bounded) < sum(one.tokens or 0 for one in whole)
    assert [one.solved for one in bounded] == [one.solved for one in whole], "what gains too little solves nothing new"
    assert (figures["threshold"], figures["simulations_pruned"]) == (0.9, 10.0)
    assert 0 < figures["stopped_wrongly"] < figures["stopped"]
    assert trial.stopped(PROBLEMS, verbs(), CHOSEN, below=0.0, simulations=10)[1]["stopped"] == 0.0


def test_the_simulations_needed_solve_as_many_and_one_fewer_does_not() -> None:
    solved = sum(tree.root.solved for tree in trial.grown(PROBLEMS, verbs(), CHOSEN))

    def stopping(simulations: int) -> int:
        asked = CHOSEN.model_copy(update={**trial.OUTDONE, "simulations": simulations})
        return sum(tree.root.solved for tree in trial.grown(PROBLEMS, verbs(), asked))

    needed = trial.simulations_needed(PROBLEMS, verbs(), CHOSEN, below=0.0)
    assert 1 < needed < CHOSEN.simulations
    assert stopping(needed) == solved > stopping(needed - 1)
    assert trial.simulations_needed([], verbs(), CHOSEN, below=0.0) == CHOSEN.simulations
