"""Exhaustive search on arithmetic puzzles: the ceiling that no policy can pass.

Takes problems whose checker is `expression`; gives the trajectory of a first correct expression, or None where there is
none. Exact: values are fractions, negative and broken intermediate results included. Asks no model and costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import combinations

from components.environment.step import after, finish, start
from components.schema.message import Message
from components.schema.problem import Problem
from components.schema.trajectory import ANSWER, Action, Trajectory

Term = tuple[Fraction, str]
"""A value and an expression for it."""


def exhaust(problem: Problem, judge: Callable[[Problem, str], bool]) -> Trajectory | None:
    """The answer `EXPRESSION = TARGET` as a trajectory of the policy `exhaustive`; None if no expression exists.

    Raises:
        ValueError: the problem is no arithmetic puzzle.
    """
    if problem.checker.kind != "expression":
        raise ValueError(f"problem {problem.problem_id} is judged by {problem.checker.kind}, not as an expression")
    settings = problem.checker.settings
    target = Fraction(str(settings["target"]))
    terms = [(Fraction(number), str(number)) for number in settings["numbers"]]
    expression = _solve(terms, target, use_all=bool(settings.get("use_all", False)))
    if expression is None:
        return None
    text = f"{expression} = {settings['target']}"
    state, transition = after(start(problem), Action(Message("assistant", text), ANSWER, (), None), None)
    return finish(state, [transition], policy_id="exhaustive", seed=0, success=judge(problem, text))


def _solve(terms: Sequence[Term], target: Fraction, *, use_all: bool) -> str | None:
    """An expression for the target that joins two of the terms, then goes on with the result."""
    for first, second in combinations(range(len(terms)), 2):
        rest = [term for index, term in enumerate(terms) if index not in (first, second)]
        for joined in _joined(terms[first], terms[second]):
            if joined[0] == target and not (use_all and rest):
                return joined[1]
            found = _solve([joined, *rest], target, use_all=use_all)
            if found is not None:
                return found
    return None


def _joined(left: Term, right: Term) -> Iterator[Term]:
    """Everything that two terms can become."""
    (a, text_a), (b, text_b) = left, right
    yield a + b, f"({text_a} + {text_b})"
    yield a * b, f"({text_a} * {text_b})"
    yield a - b, f"({text_a} - {text_b})"
    yield b - a, f"({text_b} - {text_a})"
    if b:
        yield a / b, f"({text_a} / {text_b})"
    if a:
        yield b / a, f"({text_b} / {text_a})"
