"""Families `fact`, `number` and `decoy`: one look-up. Takes facts; gives problems.

`fact` has short text answers, of which the base model knows some; `number` has figures it rarely knows; `decoy` asks
for either where a decoy page ranks high. Knownness is measured later (`knownness.py`), never assumed here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from components.curation.facts import Fact
from components.curation.problem_making import (
    ASKING,
    ASKING_IN_TEST,
    Question,
    as_problem,
    country_group,
    country_split,
    fact_checker,
    fact_reference,
    fill,
    phrased,
)
from components.schema.problem import Budget, Problem

PHRASINGS_PER_FACT = 3
PHRASINGS: Mapping[str, int] = {
    **{"capital": 8, "region": 6, "nationality": 6, "language": 6},
    **{"currency": 4, "religion": 4, "internet_code": 3},
    **{"anthem": 1, "legislature": 1, "aircraft_prefix": 1, "highest_point": 1, "independence": 2, "government": 1},
}
"""Phrasings of one `fact` by attribute: what people ask most, and what a model may know, comes up most."""
BUDGET = Budget(max_calls=2)


def fact_problems(facts: Sequence[Fact], seed: int) -> Iterator[Problem]:
    """Questions for text facts without decoy."""
    plain = (fact for fact in facts if fact.kind == "text" and fact.decoy_answer is None)
    return _problems(plain, "fact", seed)


def number_problems(facts: Sequence[Fact], seed: int) -> Iterator[Problem]:
    """Questions for figures without decoy."""
    plain = (fact for fact in facts if fact.kind == "number" and fact.decoy_answer is None)
    return _problems(plain, "number", seed)


def decoy_problems(facts: Sequence[Fact], seed: int) -> Iterator[Problem]:
    """Questions for facts that a decoy page contradicts."""
    return _problems((fact for fact in facts if fact.decoy_answer is not None), "decoy", seed)


def _problems(facts: Iterator[Fact], family: str, seed: int) -> Iterator[Problem]:
    for fact in facts:
        split = country_split(fact, seed)
        count = PHRASINGS.get(fact.attribute, PHRASINGS_PER_FACT) if family == "fact" else PHRASINGS_PER_FACT
        ways = phrased(ASKING, ASKING_IN_TEST, split=split, count=count, key=(family, fact.key))
        for number, way in ways:
            yield as_problem(_question(fact, family, number, way), split=split)


def _question(fact: Fact, family: str, number: int, way: str) -> Question:
    known = {"fact": fact.key, "phrasing": number}
    if fact.decoy_answer is not None:
        known["decoy_answer"] = fact.decoy_answer
    return Question(
        prompt=fill(way, fact.noun(number)),
        reference=fact_reference(fact),
        checker=fact_checker(fact),
        family=family,
        group=country_group(fact.code),
        budget=BUDGET,
        facts=known,
    )
