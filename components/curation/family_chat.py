"""Family `chat`: plain questions about everyday words; no tool is needed. Takes a seed; gives problems.

The reference is the base model's own greedy answer, filled in by `knownness.py`; until then it is a stand-in."""

from __future__ import annotations

from collections.abc import Iterator

from components.curation.chat_prompts import PROMPTS, PROMPTS_IN_TEST, prompts
from components.curation.problem_making import Question, as_problem
from components.curation.splits import split_of
from components.schema.problem import Budget, CheckerSpec, Problem, Reference, Split

BUDGET = Budget(max_calls=2, max_answer_tokens=40)
STAND_IN = "(the base model's own answer)"


def chat_problems(seed: int) -> Iterator[Problem]:
    """Every prompt once; the phrasings of `PROMPTS_IN_TEST` are in the test split only."""
    for phrasing, prompt in prompts(PROMPTS):
        yield _problem(prompt, phrasing, split_of(_group(prompt), seed))
    for phrasing, prompt in prompts(PROMPTS_IN_TEST):
        yield _problem(prompt, len(PROMPTS) + phrasing, "test")


def _group(prompt: str) -> str:
    return f"chat:{prompt}"


def _problem(prompt: str, phrasing: int, split: Split) -> Problem:
    question = Question(
        prompt=prompt,
        reference=Reference(text=STAND_IN, answer=STAND_IN),
        checker=CheckerSpec("overlap", {"minimum_f1": 0.5}),
        family="chat",
        group=_group(prompt),
        budget=BUDGET,
        facts={"phrasing": phrasing},
    )
    return as_problem(question, split=split)
