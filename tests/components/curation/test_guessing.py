"""The guessing annotators: what they wrote down is what their program prints in the real sandbox."""

from __future__ import annotations

from components.curation.annotators import guess
from components.curation.duplicates import near_duplicates
from components.curation.family_puzzle import BUDGET, puzzle_problems
from components.curation.guessing import guessed
from components.curation.leaks import leaks
from components.reward.checkers import check
from components.tools.python_monty import PythonTool
from components.tools.settings import PythonLimits

PUZZLES = list(puzzle_problems(30, 0))


def test_the_answer_is_what_the_program_prints_and_it_is_right() -> None:
    tool = PythonTool(PythonLimits(seconds=10), cut=lambda text, budget: text)
    try:
        for problem in PUZZLES:
            found = guess(problem)
            assert found is not None
            call, answer = found
            assert f"{tool.call(call.arguments).content} = {problem.checker.settings['target']}" == answer
            assert check(problem, answer)
    finally:
        tool.close()


def test_the_program_fits_the_budget_of_puzzles_and_gives_nothing_away() -> None:
    for problem in PUZZLES:
        found = guess(problem)
        assert found is not None
        # never fewer than two characters a token in text of this kind
        assert len(str(found[0].arguments["code"])) < 2 * BUDGET.max_argument_tokens
        assert not leaks(problem, found[0].arguments, ())


def test_a_puzzle_without_such_an_expression_is_left_to_others() -> None:
    assert guessed([1, 1], 24) is None


def test_programs_for_different_puzzles_are_no_duplicates() -> None:
    texts = [f"{problem.prompt} {found[0].arguments['code']}" for problem in PUZZLES if (found := guess(problem))]
    assert not near_duplicates(texts, 0.9)
