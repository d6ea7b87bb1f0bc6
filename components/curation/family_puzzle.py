"""Family `puzzle`: countdown with three or four small numbers, and the game of 24. Takes a count; gives problems.

All are solvable: the gold expression is found first. Groups are the sorted numbers, whatever the target."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import combinations

from components.curation.problem_making import Question, as_problem, phrased
from components.curation.splits import split_of
from components.schema.identity import child_seed
from components.schema.problem import Budget, CheckerSpec, Problem, Reference

BUDGET = Budget(max_calls=4, max_argument_tokens=96)
"""Room for a short program."""
LARGEST_TARGET = 60
COUNTDOWN = (
    "Use {n} with + - * / to make {t}.",
    "Make {t} from {n} with + - * /.",
    "Reach {t} using {n}, each at most once.",
    "Combine {n} to get {t}.",
    "Write {t} as an expression of {n}.",
    "How can you get {t} from {n}?",
    "Build {t} out of the numbers {n}.",
    "Find an expression for {t} with {n}.",
)
COUNTDOWN_IN_TEST = ("The numbers are {n}. Make {t}.", "Can {n} be combined into {t}? Show how.")
TWENTY_FOUR = (
    "Use all of {n} with + - * / to make 24.",
    "Make 24 from all four numbers {n}.",
    "Game of 24: {n}.",
    "Get 24 using each of {n} exactly once.",
)
TWENTY_FOUR_IN_TEST = ("Play 24 with {n}, every number once.", "All of {n} must be used to make 24. How?")
Term = tuple[int, str]
"""A value and an expression for it."""


def puzzle_problems(count: int, seed: int) -> Iterator[Problem]:
    """`count` puzzles, one in three the game of 24; more of them begin with the same ones."""
    for number in range(count):
        rng = random.Random(child_seed(0, "puzzle", number))
        yield _twenty_four(rng, number, seed) if number % 3 == 0 else _countdown(rng, number, seed)


def _countdown(rng: random.Random, number: int, seed: int) -> Problem:
    while True:
        numbers = [rng.randint(1, 12) for _ in range(rng.choice((3, 3, 4)))]
        target, expression = combine(numbers, rng)
        if 5 <= target <= LARGEST_TARGET and target not in numbers:
            ways = (COUNTDOWN, COUNTDOWN_IN_TEST)
            return _problem(sorted(numbers), target, expression, ways, number, seed)


def _twenty_four(rng: random.Random, number: int, seed: int) -> Problem:
    while True:
        numbers = [rng.randint(1, 10) for _ in range(4)]
        expression = solve(numbers, 24)
        if expression is not None:
            return _problem(sorted(numbers), 24, expression, (TWENTY_FOUR, TWENTY_FOUR_IN_TEST), number, seed)


def _problem(
    numbers: Sequence[int],
    target: int,
    expression: str,
    ways: tuple[tuple[str, ...], tuple[str, ...]],
    number: int,
    seed: int,
) -> Problem:
    use_all = ways[0] is TWENTY_FOUR
    listed = ", ".join(str(value) for value in numbers)
    group = f"puzzle:{listed}"
    split = split_of(group, seed)
    ((phrasing, way),) = phrased(*ways, split=split, count=1, key=(group, target, number))
    settings = {"numbers": list(numbers), "target": target, "use_all": use_all}
    question = Question(
        prompt=way.format(n=listed, t=target),
        reference=Reference(text=f"{expression} = {target}", answer=expression),
        checker=CheckerSpec("expression", settings),
        family="puzzle",
        group=group,
        budget=BUDGET,
        facts={"code": expression, "phrasing": phrasing},
    )
    return as_problem(question, split=split)


def combine(numbers: Sequence[int], rng: random.Random) -> Term:
    """All numbers joined in random order by random operations whose results are positive whole numbers."""
    terms: list[Term] = [(number, str(number)) for number in rng.sample(list(numbers), len(numbers))]
    while len(terms) > 1:
        left = terms.pop(rng.randrange(len(terms)))
        right = terms.pop(rng.randrange(len(terms)))
        terms.append(rng.choice(list(_joined(left, right))))
    return terms[0][0], _unwrapped(terms[0][1])


def solve(numbers: Sequence[int], target: int) -> str | None:
    """An expression over all numbers that gives the target through positive whole numbers; None if there is none."""
    found = _search([(number, str(number)) for number in sorted(numbers)], target)
    return None if found is None else _unwrapped(found)


def _search(terms: list[Term], target: int) -> str | None:
    if len(terms) == 1:
        return terms[0][1] if terms[0][0] == target else None
    for first, second in combinations(range(len(terms)), 2):
        rest = [term for index, term in enumerate(terms) if index not in (first, second)]
        for joined in _joined(terms[first], terms[second]):
            found = _search([*rest, joined], target)
            if found is not None:
                return found
    return None


def _joined(left: Term, right: Term) -> Iterator[Term]:
    """Everything that two terms can become, the larger one first."""
    (a, text_a), (b, text_b) = (left, right) if left[0] >= right[0] else (right, left)
    yield a + b, f"({text_a} + {text_b})"
    yield a * b, f"({text_a} * {text_b})"
    if a > b:
        yield a - b, f"({text_a} - {text_b})"
    if a % b == 0:
        yield a // b, f"({text_a} / {text_b})"


def _unwrapped(text: str) -> str:
    return text[1:-1] if text.startswith("(") else text
