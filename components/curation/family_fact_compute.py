"""Family `fact_compute`: two look-ups and a division. Takes facts; gives problems.

Either two figures of one country (people per sq km) or one figure of two countries (how many times as large). Both
countries of a pair lie in the same split, so that no test country is met in training."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from components.curation.facts import Fact, capitalised
from components.curation.problem_making import Question, as_problem, country_group, country_split, phrased
from components.schema.identity import child_seed
from components.schema.problem import Budget, CheckerSpec, Problem, Reference, Split

BUDGET = Budget(max_calls=4, max_context_tokens=768)
PARTNERS = 3
"""Pairs drawn per country and attribute."""


@dataclass(frozen=True, slots=True)
class Quotient:
    """What one figure divided by another is called."""

    upper: str
    lower: str
    noun: str
    everywhere: tuple[str, ...]
    in_test: tuple[str, ...]


QUOTIENTS: tuple[Quotient, ...] = (
    Quotient(
        "population",
        "area",
        "the number of people per sq km in {c}",
        (
            "How many people live on each sq km of {c} on average?",
            "What is the population density of {c} in people per sq km?",
            "Divide the population of {c} by its area in sq km.",
            "On average, how many people per sq km are there in {c}?",
            "Work out the population density of {c}.",
        ),
        ("How crowded is {c}, in people per sq km?", "Population of {c} over its area: how many people per sq km?"),
    ),
    Quotient(
        "population",
        "airports",
        "the number of people per airport in {c}",
        (
            "How many people are there for each airport in {c}?",
            "Divide the population of {c} by its number of airports.",
            "How many people per airport does {c} have?",
            "Work out the number of people per airport in {c}.",
        ),
        ("If the people of {c} shared its airports equally, how many would each airport serve?",),
    ),
)
RATIOS: Mapping[str, str] = {
    "population": "the population",
    "area": "the area",
    "gdp_per_capita": "the real GDP per capita",
    "coastline": "the coastline length",
    "life_expectancy": "the life expectancy at birth",
}
RATIO_WAYS = (
    "How many times as large is {n} of {a} as that of {b}?",
    "Divide {n} of {a} by {n} of {b}.",
    "What is {n} of {a} divided by that of {b}?",
    "By what factor does {n} of {a} exceed that of {b}?",
    "Work out the ratio of {n} of {a} to that of {b}.",
)
RATIO_WAYS_IN_TEST = (
    "Compare {n} of {a} with that of {b}: how many times as large is it?",
    "{N} of {a} is how many times that of {b}?",
)


def fact_compute_problems(facts: Sequence[Fact], seed: int) -> Iterator[Problem]:
    """Quotients within a country, then ratios between countries."""
    figures = [fact for fact in facts if fact.kind == "number" and fact.decoy_answer is None]
    by_key = {fact.key: fact for fact in figures}
    alike: defaultdict[tuple[str, Split], list[Fact]] = defaultdict(list)
    for fact in figures:
        alike[fact.attribute, country_split(fact, seed)].append(fact)
    for fact in figures:
        for quotient in QUOTIENTS:
            lower = by_key.get(f"{fact.code}/{quotient.lower}")
            if fact.attribute == quotient.upper and lower is not None and _readable(fact, lower):
                yield from _quotient(quotient, fact, lower, seed)
        if fact.attribute in RATIOS:
            split = country_split(fact, seed)
            yield from _ratios(fact, alike[fact.attribute, split], split)


def _quotient(quotient: Quotient, upper: Fact, lower: Fact, seed: int) -> Iterator[Problem]:
    split = country_split(upper, seed)
    key = ("quotient", upper.key, lower.key)
    for number, way in phrased(quotient.everywhere, quotient.in_test, split=split, count=2, key=key):
        prompt = way.format(c=upper.in_sentence)
        yield _problem(prompt, quotient.noun.format(c=upper.in_sentence), (upper, lower), number, split)


def _ratios(fact: Fact, candidates: Sequence[Fact], split: Split) -> Iterator[Problem]:
    """`fact` over smaller figures of other countries in the same split."""
    noun = RATIOS[fact.attribute]
    others = [other for other in candidates if _smaller(fact, other)]
    for other in random.Random(child_seed(0, "ratio", fact.key)).sample(others, min(PARTNERS, len(others))):
        key = ("ratio", fact.key, other.key)
        ((number, way),) = phrased(RATIO_WAYS, RATIO_WAYS_IN_TEST, split=split, count=1, key=key)
        names = {"a": fact.in_sentence, "b": other.in_sentence}
        text = f"{noun} of {fact.in_sentence} divided by that of {other.in_sentence}"
        yield _problem(way.format(n=noun, N=capitalised(noun), **names), text, (fact, other), number, split)


def _readable(upper: Fact, lower: Fact) -> bool:
    """Whether the quotient has two significant digits in four decimals."""
    return upper.value is not None and lower.value is not None and upper.value / lower.value >= 0.01


def _smaller(fact: Fact, other: Fact) -> bool:
    if fact.value is None or other.value is None:
        return False
    return 1.05 <= fact.value / other.value <= 1000


def _problem(prompt: str, noun: str, parts: tuple[Fact, Fact], number: int, split: Split) -> Problem:
    upper, lower = parts
    if upper.value is None or lower.value is None:
        raise ValueError(f"not figures: {upper.key}, {lower.key}")
    value = upper.value / lower.value
    digits = digits_for(value)
    answer = str(round(value, digits))
    question = Question(
        prompt=prompt,
        reference=Reference(text=f"{capitalised(noun)} is about {answer}.", answer=answer),
        checker=CheckerSpec("number", {"value": value, "relative_tolerance": 0.02}),
        family="fact_compute",
        group=country_group(upper.code),
        budget=BUDGET,
        facts={
            "facts": [upper.key, lower.key],
            "countries": sorted({upper.code, lower.code}),
            "code": f"round({plain_number(upper.value)}/{plain_number(lower.value)}, {digits})",
            "phrasing": number,
        },
    )
    return as_problem(question, split=split)


def digits_for(value: float) -> int:
    """Decimals shown: two, and four for values below one half."""
    return 2 if value >= 0.5 else 4


def plain_number(value: float) -> str:
    """A figure as Python reads it."""
    return str(int(value)) if value == int(value) else str(value)
