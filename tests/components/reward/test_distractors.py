"""Wrong answers to contrast a reference with."""

from __future__ import annotations

from dataclasses import replace

import pytest
from doubles import make_problem

from components.reward.distractors import rivals_of
from components.schema.problem import CheckerSpec


def test_distractors_are_answers_of_the_family_that_the_checker_refuses() -> None:
    problems = [make_problem(f"{n}?", answer) for n, answer in enumerate(("Lima", "Rome", "Rome", "Oslo"))]
    problems.append(make_problem("5?", "42", family="number"))
    rivals = rivals_of(problems, 3)(problems[0])
    assert sorted(reference.answer for reference in rivals) == ["Oslo", "Rome"]
    assert all(reference.text == f"It is {reference.answer}." for reference in rivals)
    assert rivals == rivals_of(problems[::-1], 3)(problems[0])


def test_the_claims_that_a_checker_names_come_first() -> None:
    decoyed = make_problem("0?", "Lima", checker=CheckerSpec("phrase", {"rivals": ("Chadville",)}))
    problems = [decoyed, make_problem("1?", "Rome")]
    assert [reference.answer for reference in rivals_of(problems, 1)(decoyed)] == ["Chadville"]


def test_a_problem_without_any_wrong_answer_is_named() -> None:
    with pytest.raises(ValueError, match=r"family fact.*reward\.distractors"):
        rivals_of([make_problem()], 1)(make_problem())
    assert rivals_of([make_problem()], 0)(make_problem()) == ()


def test_answers_of_the_same_kind_of_fact_come_before_other_answers_of_the_family() -> None:
    kinds = {"Lima": "pe/capital", "Rome": "it/capital", "Sol": "pe/currency", "Euro": "it/currency"}
    problems = [replace(make_problem(f"{answer}?", answer), facts={"fact": kind}) for answer, kind in kinds.items()]
    found = [reference.answer for reference in rivals_of(problems, 3)(problems[0])]
    assert (found[0], sorted(found[1:])) == ("Rome", ["Euro", "Sol"])
