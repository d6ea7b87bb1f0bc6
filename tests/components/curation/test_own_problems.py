"""Problems of one's own become problems like the others."""

from __future__ import annotations

import pytest
from doubles import make_problem

from components.curation.own_problems import own_problems, with_own
from components.reward.checkers import check
from components.schema.own_problem import OwnProblem
from components.schema.problem import Budget


def row(number: int, **fields: object) -> OwnProblem:
    return OwnProblem.model_validate({"prompt": f"What is {number}?", "answer": f"{number} km", **fields})


def test_rows_that_are_added_move_no_row_to_another_split() -> None:
    few, many = [row(n) for n in range(0, 60, 3)], [row(n) for n in range(60)]
    before = {problem.prompt: problem for problem in own_problems(few, 0)}
    after = {problem.prompt: problem for problem in own_problems(reversed(many), 0)}
    assert all(after[prompt] == problem for prompt, problem in before.items())
    assert {problem.split for problem in after.values()} == {"train", "validation", "test"}


def test_a_group_shares_a_split() -> None:
    grouped = own_problems([row(n, group=f"g{n % 5}") for n in range(40)], 0)
    splits: dict[str, set[str]] = {}
    for problem in grouped:
        splits.setdefault(problem.group, set()).add(problem.split)
    assert len(splits) == 5
    assert all(len(found) == 1 for found in splits.values())


@pytest.mark.parametrize(
    ("fields", "kind", "right", "wrong"),
    [
        ({}, "number", "It is 7.0 km.", "It is 8 km."),
        ({"answer": "Bamako"}, "phrase", "It is Bamako.", "It is Lima."),
        ({"answer": "Bamako", "checker": {"kind": "phrase", "rivals": ["Lima"]}}, "phrase", "Bamako", "Bamako, Lima"),
        ({"checker": {"kind": "number", "value": 8, "relative_tolerance": 0.0}}, "number", "It is 8.", "It is 7."),
        ({"answer": "rain falls from dark clouds", "checker": "overlap"}, "overlap", "dark clouds, rain falls", "sun"),
        (
            {"answer": "4*6", "checker": {"kind": "expression", "numbers": [4, 6], "target": 24}},
            "expression",
            "6*4",
            "4+6",
        ),
    ],
)
def test_checkers_go_by_name(fields: dict[str, object], kind: str, right: str, wrong: str) -> None:
    (problem,) = own_problems([row(7, prompt="Well?", **fields)], 0)
    assert problem.checker.kind == kind
    assert (check(problem, right), check(problem, wrong)) == (True, False)


def test_a_number_checker_without_a_number_refuses_its_own_reference() -> None:
    (problem,) = own_problems([row(1, answer="none", checker="number")], 0)
    assert not check(problem, problem.reference.text)


def test_slices_and_budgets_are_taken_over() -> None:
    (problem,) = own_problems([row(1, slice="units", budget={"max_calls": 1})], 0)
    assert problem.slices == ("own", "units")
    assert problem.budget == Budget(max_calls=1)


def test_a_prompt_that_people_bring_is_theirs() -> None:
    generated = [make_problem("What is 1?"), make_problem("Else?")]
    both = with_own(generated, own_problems([row(1)], 0))
    assert [(problem.prompt, problem.family) for problem in both] == [("Else?", "fact"), ("What is 1?", "own")]
