"""Family `compute`: arithmetic, calendar and word problems by reasoning-gym. Takes sizes and a seed; gives problems.

The generated content and gold answers are reasoning-gym's; its verbose instructions are replaced by short phrasings of
our own. Difficulty runs from one-digit sums to five-digit products, far beyond a small model's mental arithmetic."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import reasoning_gym
from reasoning_gym.arithmetic.leg_counting import ANIMALS

from components.curation.facts import capitalised
from components.curation.problem_making import Question, as_problem, phrased
from components.curation.splits import split_of
from components.schema.problem import Budget, CheckerSpec, Problem, Reference

BUDGET = Budget(max_calls=2)
LONGEST_PROMPT = 40
"""Words of a prompt at most."""
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Exercise:
    """One generated exercise in our words."""

    noun: str
    """What is computed, for phrasings like `What is {n}?`; or the whole question."""
    code: str | None
    """A Python line that gives the answer; None where there is no short one."""
    sentence: str
    """Reference with `{a}` for the answer."""


@dataclass(frozen=True, slots=True)
class Source:
    """One reasoning-gym data set and how it is asked."""

    name: str
    dataset: str
    share: float
    """Share of the family."""
    settings: Mapping[str, Any]
    read: Callable[[Item], Exercise]
    everywhere: tuple[str, ...]
    in_test: tuple[str, ...]


def _sum(item: Item) -> Exercise:
    expression = str(item["metadata"]["expression"])
    return Exercise(expression, expression.replace(" ", ""), f"{expression} = {{a}}.")


def _pair(word: str, function: str, item: Item) -> Exercise:
    numbers = [str(number) for number in item["metadata"]["numbers"]]
    text = f"the {word} of {', '.join(numbers[:-1])} and {numbers[-1]}"
    return Exercise(text, f"import math; math.{function}({', '.join(numbers)})", f"T{text[1:]} is {{a}}.")


def _weekday(item: Item) -> Exercise:
    day = date.fromisoformat(item["metadata"]["target_date"])
    text = f"{day.day} {day:%B} {day.year}"
    return Exercise(text, f"{_date_code(day)}.strftime('%A')", f"{text} is a {{a}}.")


def _offset(item: Item) -> Exercise:
    start, days = date.fromisoformat(item["metadata"]["start_date"]), int(item["metadata"]["offset_days"])
    direction = "after" if days > 0 else "before"
    text = f"{abs(days)} days {direction} {start.day} {start:%B} {start.year}"
    code = f"from datetime import date, timedelta; (date({start.year},{start.month},{start.day})+timedelta({days}))"
    return Exercise(text, f"{code}.strftime('%A')", f"The day {text} is a {{a}}.")


def _leap(item: Item) -> Exercise:
    year = item["metadata"]["year"]
    code = f"{year}%4==0 and ({year}%100!=0 or {year}%400==0)"
    verb = "is" if item["answer"] == "Yes" else "is not"
    return Exercise(str(year), code, f"{{a}}, {year} {verb} a leap year.")


def _legs(item: Item) -> Exercise:
    animals: Mapping[str, int] = item["metadata"]["animals"]
    text = ", ".join(f"{count} {name if count == 1 else _plural(name)}" for name, count in animals.items())
    code = "+".join(f"{count}*{ANIMALS[name]}" for name, count in animals.items())
    return Exercise(text, code, "They have {a} legs in total.")


def _plural(animal: str) -> str:
    if animal in {"deer", "sheep", "jellyfish", "starfish", "shrimp"}:
        return animal
    if animal.endswith("fly"):
        return f"{animal[:-1]}ies"
    if animal.endswith("louse"):
        return animal.replace("louse", "lice")
    return f"{animal}es" if animal.endswith(("ch", "s", "x")) else f"{animal}s"


def _story(item: Item) -> Exercise:
    text = re.sub(r" (Give the result|Do not include|Give your|Round).*$", "", " ".join(str(item["question"]).split()))
    return Exercise(text, None, "The answer is {a}.")


def _date_code(day: date) -> str:
    return f"from datetime import date; date({day.year},{day.month},{day.day})"


_CALCULATE = (
    "What is {n}?",
    "Calculate {n}.",
    "Compute {n}.",
    "Work out {n}.",
    "{N} = ?",
    "How much is {n}?",
    "Find {n}.",
    "Give the value of {n}.",
)
_CALCULATE_IN_TEST = ("Solve {n}.", "I need the result of {n}.", "Please evaluate {n}.")
_WEEKDAY = (
    "Which day of the week is {n}?",
    "What weekday is {n}?",
    "Name the weekday of {n}.",
    "On which weekday is {n}?",
)
_WEEKDAY_IN_TEST = ("Tell me the day of the week for {n}.", "{n} falls on which day of the week?")
_LEAP = ("Is {n} a leap year?", "Was or will {n} be a leap year?", "Does the year {n} have 366 days?")
_LEAP_IN_TEST = ("Does February have 29 days in {n}?",)
_LEGS = (
    "How many legs do {n} have in total?",
    "Count the legs: {n}.",
    "What is the total number of legs of {n}?",
    "There are {n}. How many legs is that?",
)
_LEGS_IN_TEST = ("A farm has {n}. How many legs are there?",)

SOURCES: tuple[Source, ...] = (
    Source("sum", "chain_sum", 0.25, {}, _sum, _CALCULATE, _CALCULATE_IN_TEST),
    Source("product", "products", 0.25, {}, _sum, _CALCULATE, _CALCULATE_IN_TEST),
    Source("gcd", "gcd", 0.1, {}, partial(_pair, "greatest common divisor", "gcd"), _CALCULATE, _CALCULATE_IN_TEST),
    Source("lcm", "lcm", 0.08, {}, partial(_pair, "least common multiple", "lcm"), _CALCULATE, _CALCULATE_IN_TEST),
    Source(
        "weekday", "calendar_arithmetic", 0.09, {"tasks": ["weekday_of_date"]}, _weekday, _WEEKDAY, _WEEKDAY_IN_TEST
    ),
    Source("offset", "calendar_arithmetic", 0.04, {"tasks": ["weekday_offset"]}, _offset, _WEEKDAY, _WEEKDAY_IN_TEST),
    Source("leap", "calendar_arithmetic", 0.04, {"tasks": ["is_leap_year"]}, _leap, _LEAP, _LEAP_IN_TEST),
    Source("legs", "leg_counting", 0.07, {"min_animals": 2, "max_animals": 4}, _legs, _LEGS, _LEGS_IN_TEST),
    Source("story", "gsm_symbolic", 0.08, {}, _story, ("{n}",), ()),
)


def compute_problems(count: int, seed: int) -> Iterator[Problem]:
    """About `count` problems; more of them begin with the same ones."""
    for source in SOURCES:
        data = reasoning_gym.create_dataset(
            source.dataset, seed=1009, size=max(2, round(count * source.share)), **source.settings
        )
        for index in range(len(data)):
            problem = _problem(source, data[index], seed)
            if len(problem.prompt.split()) <= LONGEST_PROMPT:
                yield problem


def _problem(source: Source, item: Item, seed: int) -> Problem:
    exercise = source.read(item)
    answer = str(item["answer"])
    group = f"compute:{source.name}:{exercise.noun}"
    split = split_of(group, seed)
    ((number, way),) = phrased(source.everywhere, source.in_test, split=split, count=1, key=(group,))
    question = Question(
        prompt=way.format(n=exercise.noun, N=capitalised(exercise.noun)),
        reference=Reference(text=exercise.sentence.format(a=answer), answer=answer),
        checker=_checker(answer),
        family="compute",
        group=group,
        budget=BUDGET,
        facts={"source": source.name, "phrasing": number, **({"code": exercise.code} if exercise.code else {})},
    )
    return as_problem(question, split=split)


def _checker(answer: str) -> CheckerSpec:
    if answer in WEEKDAYS:
        return CheckerSpec("phrase", {"rivals": [day for day in WEEKDAYS if day != answer]})
    if answer in {"Yes", "No"}:
        return CheckerSpec("phrase", {"rivals": ["No" if answer == "Yes" else "Yes"]})
    return CheckerSpec("number", {"value": float(answer), "relative_tolerance": 0.0})
