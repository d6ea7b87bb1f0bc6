"""How the generated annotators act on a problem. Takes a problem and the fact table; gives calls and queries.

They look everything up, even what they could know. Three in four write whole questions, as for an engine that
understands natural language; one in four writes a few key words. Puzzles they try with an expression of their own, one
of them at times with a program that guesses. It writes no rows: see `seed_annotations.py`."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from components.curation.attributes import BY_NAME
from components.curation.facts import Fact
from components.curation.guessing import guessed, guessing_program
from components.schema.annotation import AnnotatedCall
from components.schema.problem import Problem

WORDY = (
    "What is {n}?",
    "Please tell me {n}.",
    "I want to find out {n}",
    "Can you find {n} for me?",
    "Where can I read what {n} is?",
    "Could you look up {n} in the encyclopedia?",
)
WORDY_KEYS: Mapping[str, str] = {
    "capital": "{a} is the capital of which country?",
    "internet_code": "Which country has the internet country code {a}?",
    "highest_point": "In which country is {a} the highest point?",
    "anthem": "Which country has the national anthem {a}?",
}
TERSE_KEYS: Mapping[str, str] = {
    "capital": "capital {a}",
    "internet_code": "internet country code {a}",
    "highest_point": "highest point {a}",
    "anthem": "national anthem {a}",
}


def steps_for(
    problem: Problem, facts: Mapping[str, Fact], *, terse: bool, rng: random.Random
) -> tuple[AnnotatedCall, ...]:
    """The calls of a careful annotator, in order; none for chat and for problems without a short program."""
    known = problem.facts
    if problem.family in {"fact", "number", "decoy"}:
        return (search(facts[known["fact"]], terse=terse, rng=rng),)
    if problem.family == "two_hop":
        first = search_key(facts[known["key"]], terse=terse)
        return (first, search(facts[known["fact"]], terse=terse, rng=rng))
    if problem.family == "fact_compute":
        parts: Sequence[str] = known["facts"]
        return (*(search(facts[key], terse=terse, rng=rng) for key in parts), python(known["code"]))
    if problem.family == "puzzle":
        return (*_failed_try(problem, rng), python(known["code"]))
    return (python(known["code"]),) if "code" in known else ()


def search(fact: Fact, *, terse: bool, rng: random.Random) -> AnnotatedCall:
    """A search for one fact."""
    return query(terse_query(fact, rng) if terse else wordy_query(fact, rng))


def terse_query(fact: Fact, rng: random.Random) -> str:
    """Country and key word, in either order: `Chad capital`."""
    keyword = BY_NAME[fact.attribute].keyword
    return f"{fact.country} {keyword}" if rng.random() < 0.75 else f"{keyword} {fact.country}"


def wordy_query(fact: Fact, rng: random.Random) -> str:
    """A whole question: `What is the total population of the country Chad?`"""
    noun = fact.noun(rng.randrange(3))
    if rng.random() < 0.3 and fact.in_sentence == fact.country:
        noun = noun.replace(fact.country, f"the country {fact.country}")
    return rng.choice(WORDY).format(n=noun)


def search_key(key: Fact, *, terse: bool) -> AnnotatedCall:
    """A search for the country that has this capital (code, mountain, anthem)."""
    return query((TERSE_KEYS if terse else WORDY_KEYS)[key.attribute].format(a=key.answer))


def query(text: str) -> AnnotatedCall:
    """A search call."""
    return AnnotatedCall(tool="search", arguments={"query": text})


def python(code: str) -> AnnotatedCall:
    """A Python call."""
    return AnnotatedCall(tool="python", arguments={"code": code})


def guess(problem: Problem) -> tuple[AnnotatedCall, str] | None:
    """A program that solves the puzzle by guessing, and the answer that it leads to; None where it would not."""
    settings: Mapping[str, Any] = problem.checker.settings
    numbers, target = list(settings["numbers"]), settings["target"]
    found = guessed(numbers, target)
    return None if found is None else (python(guessing_program(numbers, target)), f"{found} = {target}")


def _failed_try(problem: Problem, rng: random.Random) -> tuple[AnnotatedCall, ...]:
    """For a third of the puzzles a first candidate that misses the target."""
    settings: Mapping[str, Any] = problem.checker.settings
    numbers = rng.sample(list(settings["numbers"]), len(settings["numbers"]))
    attempt = f"{numbers[0]} * {numbers[1]} + {numbers[2]}"
    missed = numbers[0] * numbers[1] + numbers[2] != settings["target"]
    return (python(attempt),) if missed and rng.random() < 0.33 else ()
