"""Problems that people bring, as problems of the pipeline. Takes checked rows; gives `Problem` records and faults.

A problem's split depends on its group alone, so rows that are added move no other row. Every problem may use every tool
that is open. Asks no model and drops nothing: whether a reference passes its checker is found out by `curate`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from components.curation.problem_making import Question, as_problem
from components.curation.splits import split_of
from components.reward.text import numbers_in
from components.schema.own_problem import NumberChecker, OwnBudget, OwnProblem
from components.schema.problem import Budget, CheckerSpec, Problem, Reference

FAMILY = "own"


def own_problems(rows: Iterable[OwnProblem], split_seed: int) -> Iterator[Problem]:
    """The rows as problems of the family `own`, in order."""
    for row in rows:
        group = f"own:{row.group or row.prompt}"
        question = Question(
            prompt=row.prompt,
            reference=Reference(text=row.text or row.answer, answer=row.answer, aliases=row.aliases),
            checker=_checker(row),
            family=FAMILY,
            group=group,
            budget=_budget(row.budget),
            facts={},
        )
        made = as_problem(question, split=split_of(group, split_seed))
        yield replace(made, slices=(*made.slices, row.slice)) if row.slice else made


def with_own(generated: Iterable[Problem], own: Iterable[Problem]) -> tuple[Problem, ...]:
    """Both together; a prompt that people bring is theirs."""
    brought = tuple(own)
    prompts = {problem.prompt for problem in brought}
    return (*(problem for problem in generated if problem.prompt not in prompts), *brought)


def checker_for(answer: str) -> CheckerSpec:
    """`number` for an answer that is one number (with a unit, perhaps), else `phrase`."""
    numbers = numbers_in(answer)
    if len(numbers) == 1 and len(answer.split()) <= 2:
        return CheckerSpec("number", {"value": numbers[0], "relative_tolerance": 0.01})
    return CheckerSpec("phrase")


def _checker(row: OwnProblem) -> CheckerSpec:
    if row.checker is None:
        return checker_for(row.answer)
    settings = row.checker.model_dump(mode="json", exclude={"kind"}, exclude_none=True, exclude_defaults=True)
    if isinstance(row.checker, NumberChecker):
        # Where the answer holds no number the reference fails its checker, whatever the value, and `curate` says so.
        found = next(iter(numbers_in(row.answer)), 0.0)
        value = found if row.checker.value is None else row.checker.value
        settings = {"value": value, "relative_tolerance": row.checker.relative_tolerance}
    return CheckerSpec(row.checker.kind, settings)


def _budget(given: OwnBudget) -> Budget:
    return Budget(**given.model_dump(exclude_none=True))
