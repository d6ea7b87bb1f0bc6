"""A program that guesses expressions until one fits: how one of the generated annotators solves puzzles.

Takes the numbers and the target of a puzzle; gives the program, and what it prints in the sandbox, whose `random` has
the seed 0: a test runs both. It joins the numbers from left to right in random order, so a few puzzles have no
expression that it can find."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from random import Random

SIGNS = "+-*/"
JOIN: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
MOST_GUESSES = 3000
"""A puzzle that needs more is left to other annotators; the sandbox makes about 20000 in its half second."""


def guessing_program(numbers: Sequence[int], target: int) -> str:
    """About 80 tokens."""
    return (
        "import random as r\n"
        "e = 0\n"
        f"while eval(str(e)) != {target}:\n"
        f" e, *n = r.sample({list(numbers)}, {len(numbers)})\n"
        """ for x in n: e = f"({e} {r.choice('+-*/')} {x})"\n"""
        "e"
    )


def guessed(numbers: Sequence[int], target: int) -> str | None:
    """The expression that the program finds; None if it takes too long."""
    rng = Random(0)
    for _ in range(MOST_GUESSES):
        first, *others = rng.sample(list(numbers), len(numbers))
        text, value = str(first), float(first)
        for number in others:
            sign = rng.choice(SIGNS)
            text, value = f"({text} {sign} {number})", JOIN[sign](value, number)
        if value == target:
            return text
    return None
