"""Family `two_hop`: a search that feeds a search. Takes facts; gives problems.

The country is named by something only it has (`the country whose capital is N'Djamena`); a fact about it is asked."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from components.curation.attributes import BY_NAME
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
from components.reward.text import plain_words
from components.schema.identity import child_seed
from components.schema.problem import Budget, Problem

KEYS: Mapping[str, str] = {
    "capital": "the country whose capital is {a}",
    "internet_code": "the country with the internet country code {a}",
    "highest_point": "the country whose highest point is {a}",
    "anthem": 'the country whose national anthem is "{a}"',
}
"""Attribute that names a country, to the words that do so."""
_TARGETS = frozenset(
    {"capital", "currency", "internet_code", "highest_point", "government", "population", "area", "coastline"}
    | {"median_age", "life_expectancy", "gdp_per_capita", "fertility", "airports", "language", "religion"}
)
BUDGET = Budget(max_calls=3)


def two_hop_problems(facts: Sequence[Fact], seed: int) -> Iterator[Problem]:
    """One question for each target fact of every country that can be named by a unique key."""
    usable = [fact for fact in facts if fact.decoy_answer is None]
    keys = _unique_keys(usable)
    for fact in usable:
        choices = [key for key in keys.get(fact.code, ()) if key.attribute != fact.attribute]
        if fact.attribute in _TARGETS and choices:
            yield _problem(fact, random.Random(child_seed(0, "key", fact.key)).choice(choices), seed)


def _unique_keys(facts: Sequence[Fact]) -> Mapping[str, list[Fact]]:
    """By country, the facts whose answer belongs to that country alone."""
    candidates = [fact for fact in facts if fact.attribute in KEYS]
    counts = Counter((fact.attribute, plain_words(fact.answer)) for fact in candidates)
    keys: defaultdict[str, list[Fact]] = defaultdict(list)
    for fact in candidates:
        if counts[fact.attribute, plain_words(fact.answer)] == 1:
            # Three in four by capital, as people ask: weights by repetition.
            keys[fact.code] += [fact] * (6 if fact.attribute == "capital" else 1)
    return keys


def _problem(fact: Fact, key: Fact, seed: int) -> Problem:
    split = country_split(fact, seed)
    ((number, way),) = phrased(ASKING, ASKING_IN_TEST, split=split, count=1, key=("two_hop", fact.key))
    nouns = BY_NAME[fact.attribute].nouns
    noun = nouns[number % len(nouns)].format(c=KEYS[key.attribute].format(a=key.answer))
    question = Question(
        prompt=fill(way, noun),
        reference=fact_reference(fact),
        checker=fact_checker(fact),
        family="two_hop",
        group=country_group(fact.code),
        budget=BUDGET,
        facts={"fact": fact.key, "key": key.key, "phrasing": number},
    )
    return as_problem(question, split=split)
