"""The common parts of problem families. Takes prompts, references and checkers; gives `Problem` records and phrasings.

It knows no family: each `family_*` module says what it asks."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.curation.attributes import BY_NAME
from components.curation.facts import Fact, capitalised
from components.curation.splits import split_of
from components.reward.text import contains_words
from components.schema.identity import child_seed, stable_hash
from components.schema.problem import Budget, CheckerSpec, Problem, Reference, Split

TOOLS = ("search", "python")
ASKING = (
    "What is {n}?",
    "Tell me {n}.",
    "Can you tell me {n}?",
    "I would like to know {n}.",
    "Please give {n}.",
    "Do you know {n}?",
    "State {n}.",
    "{N}?",
    "What would you say is {n}?",
)
"""Ways to ask for something named `{n}`, in every split."""
ASKING_IN_TEST = (
    "Quick question: what is {n}?",
    "I am filling in a form and need {n}.",
    "For a quiz: {n}, please.",
    "Could you find out {n} for me?",
)
"""Ways that occur in the test split only."""


@dataclass(frozen=True, slots=True)
class Question:
    """Everything of a problem but its identity and split."""

    prompt: str
    reference: Reference
    checker: CheckerSpec
    family: str
    group: str
    budget: Budget
    facts: Mapping[str, Any]


def as_problem(question: Question, *, split: Split) -> Problem:
    """The record, identified by prompt, answer and checker."""
    checker = question.checker
    content = [question.prompt, question.reference.answer, checker.kind, dict(checker.settings)]
    return Problem(
        problem_id=stable_hash(content),
        prompt=question.prompt,
        tool_names=TOOLS,
        reference=question.reference,
        checker=checker,
        budget=question.budget,
        family=question.family,
        slices=(question.family,),
        group=question.group,
        split=split,
        facts=question.facts,
    )


def phrased(
    everywhere: Sequence[str], in_test: Sequence[str], *, split: Split, count: int, key: Sequence[str | int]
) -> tuple[tuple[int, str], ...]:
    """`count` different phrasings with their numbers, drawn by `key`; `in_test` ones in the test split alone."""
    known = tuple(enumerate((*everywhere, *in_test)))
    allowed = known if split == "test" else known[: len(everywhere)]
    return tuple(random.Random(child_seed(0, "phrasing", *key)).sample(allowed, min(count, len(allowed))))


def fill(phrasing: str, noun: str) -> str:
    """The prompt that asks for `noun`."""
    return phrasing.format(n=noun, N=capitalised(noun))


def fact_reference(fact: Fact) -> Reference:
    """The sentence that states the fact."""
    return Reference(text=fact.sentence(), answer=fact.answer, aliases=fact.aliases)


def fact_checker(fact: Fact) -> CheckerSpec:
    """phrase or number, with the decoy's claim and the other members of a closed set as rivals."""
    if fact.value is not None:
        tolerance = 0.02 if fact.attribute == "population" else 0.01
        return CheckerSpec("number", {"value": fact.value, "relative_tolerance": tolerance})
    rivals = (*BY_NAME[fact.attribute].rivals, *((fact.decoy_answer,) if fact.decoy_answer else ()))
    good = (fact.answer, *fact.aliases)
    wrong = [rival for rival in rivals if not any(contains_words(span, rival) for span in (fact.sentence(), *good))]
    return CheckerSpec("phrase", {"rivals": wrong} if wrong else {})


def country_split(fact: Fact, seed: int) -> Split:
    """All problems about one country share a split."""
    return split_of(country_group(fact.code), seed)


def country_group(code: str) -> str:
    """The group of everything about one country."""
    return f"country:{code}"
