"""The rules of judging an answer."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.reward.checkers import check
from components.reward.text import evaluate_arithmetic, numbers_in, plain_words
from components.schema.problem import Budget, CheckerKind, CheckerSpec, Problem, Reference


def make(kind: CheckerKind, answer: str, *, aliases: tuple[str, ...] = (), prompt: str = "?", **rules: Any) -> Problem:
    checker_settings: Mapping[str, Any] = rules
    return Problem(
        problem_id="p",
        prompt=prompt,
        tool_names=("search",),
        reference=Reference(text=f"It is {answer}.", answer=answer, aliases=aliases),
        checker=CheckerSpec(kind=kind, settings=checker_settings),
        budget=Budget(),
        family="fact",
        slices=("fact",),
        group="g",
        split="train",
    )


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        ("N'Djamena", "The capital of Chad is N’Djamena.", True),
        ("N'Djamena", "ndjamena", True),
        ("Asunción", "It's ASUNCION!", True),
        ("Niger", "Nigeria", False),
        ("Paris", "The capital is not Paris.", False),
        ("Paris", "", False),
        ("Paris", "Rome, Lima, Oslo, Bern, Riga, Kyiv, Paris", False),
        ("Paris", " ".join(["Rome Lima Oslo Bern"] * 12) + " Paris", False),
        (".td", "The code is .td.", True),
        ("Porto-Novo", "porto novo", True),
    ],
)
def test_phrase_matches_whole_words_and_refuses_lists(gold: str, answer: str, right: bool) -> None:
    assert check(make("phrase", gold), answer) is right


def test_phrase_accepts_aliases_and_refuses_named_rivals() -> None:
    problem = make("phrase", "Friday", aliases=("Fri",), rivals=["Monday", "Saturday"])
    assert check(problem, "Fri")
    assert not check(problem, "Friday or Monday")
    assert check(problem, "Friday, not Monday")


@pytest.mark.parametrize(
    ("value", "tolerance", "answer", "right"),
    [
        (19674004, 0.01, "The population of Chad is 19,674,004 (2025 est.).", True),
        (19674004, 0.01, "about 19.7 million people", True),
        (1284000, 0.01, "1.284 million sq km", True),
        (1284000, 0.01, "1,284,000 km2", True),
        (40, 0.01, "40%", True),
        (-3, 0.0, "4 - 7 = -3", True),
        (408, 0.0, "17 * 24 = 408", True),
        (408, 0.0, "409", False),
        (408, 0.0, "There are 17 of 24, so 408", True),
        (408, 0.0, "408 or perhaps 500", False),
        (748, 0.01, "748 deaths per 1,000 people", True),
        (5, 0.0, "Five.", True),
        (5, 0.0, "no idea", False),
        (3445, 0.0, "3,445m", True),
        (2.51, 0.01, "2.51 children", True),
    ],
)
def test_number_understands_how_people_write_figures(value: float, tolerance: float, answer: str, right: bool) -> None:
    assert check(make("number", str(value), value=value, relative_tolerance=tolerance), answer) is right


def test_number_ignores_the_figures_of_the_question() -> None:
    problem = make("number", "408", prompt="What is 17 times 24?", value=408)
    assert check(problem, "408 is 17 times 24")
    assert not check(problem, "17 times 24 is 400")


def test_number_refuses_an_enumeration() -> None:
    assert not check(make("number", "7", value=7), " ".join(str(n) for n in range(45)))


def test_overlap_needs_enough_common_words() -> None:
    problem = make("overlap", "a quiet cat sleeps", minimum_f1=0.5)
    assert check(problem, "A quiet cat sleeps here.")
    assert not check(problem, "Dogs bark.")
    assert not check(problem, "")


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("(8 - 5) * 3 + 10 = 19", True),
        ("You can use 10 + 3 * (8 - 5).", True),
        ("10 + 3 × (8 − 5)", True),
        ("10 + 9 = 19", False),
        ("10 + 3 + 3 + 3 = 19", False),
        ("19", False),
        ("10 + 3 * (8 - 5) - 0 = 19", False),
        ("(10).__class__", False),
        ("9**9**9", False),
        ("10 + 3 = 19", False),
        ("8 / (5 - 5)", False),
    ],
)
def test_expression_uses_each_given_number_at_most_once(answer: str, right: bool) -> None:
    problem = make("expression", "(8 - 5) * 3 + 10", numbers=[3, 5, 8, 10], target=19)
    assert check(problem, answer) is right


def test_twenty_four_uses_every_number() -> None:
    problem = make("expression", "4*6*1*1", numbers=[4, 6, 1, 1], target=24, use_all=True)
    assert check(problem, "4 * 6 * 1 * 1 = 24")
    assert not check(problem, "4 * 6 = 24")


@given(st.text(max_size=80))
@settings(max_examples=150, deadline=None)
def test_no_text_breaks_a_checker(answer: str) -> None:
    for kind, rules in (
        ("phrase", {}),
        ("number", {"value": 4}),
        ("overlap", {}),
        ("expression", {"numbers": [1, 2], "target": 3}),
    ):
        assert check(make(kind, "x", **rules), answer) in {True, False}  # type: ignore[arg-type]


@given(st.integers(-(10**9), 10**9))
def test_every_whole_number_is_read_back(number: int) -> None:
    assert numbers_in(f"The result is {number:,}.") == (float(number),)


def test_text_helpers_have_obvious_values() -> None:
    assert plain_words("Côte d'Ivoire (U.S.)") == ("cote", "divoire", "us")
    result = evaluate_arithmetic("(1+2)/3")
    assert result is not None
    assert result == (Fraction(1), (1, 2, 3))
