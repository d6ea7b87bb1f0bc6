"""What the base model says on its own. Takes problems and `Ask`; gives its answers and the problems that they complete.

All problems are asked in one batch, the main cost of curation: every `fact` problem (is it known?), every `chat`
problem (its reference is the model's own answer) and some other train problems (the direct branch)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from components.curation.problem_making import Question, as_problem
from components.curation.settings import CurateSettings
from components.reward.checkers import check
from components.schema.identity import stable_hash
from components.schema.problem import CheckerSpec, Problem, Reference

_SENTENCE_END = re.compile(r"[.!?…][\"')\]”’]*$")

Ask = Callable[[Sequence[str]], Sequence[str]]
"""Prompts to the base model's greedy direct answers, no tool text."""


def ask_base(problems: Sequence[Problem], ask: Ask, settings: CurateSettings) -> Mapping[str, str]:
    """The base model's answer by prompt, for the problems that need it."""
    always = [problem for problem in problems if problem.family in {"fact", "chat"}]
    others = [problem for problem in problems if problem.split == "train" and problem.family not in {"fact", "chat"}]
    sampled = sorted(others, key=lambda problem: stable_hash(["direct", problem.problem_id]))[: settings.direct_size]
    prompts = [problem.prompt for problem in (*always, *sampled)]
    answers = (answer.strip() for answer in ask(prompts))
    return {prompt: answer for prompt, answer in zip(prompts, answers, strict=True) if answer}


def chat_fault(problem: Problem, answers: Mapping[str, str], settings: CurateSettings) -> str | None:
    """Why a chat problem is not well posed: the model's own answer is missing, unfinished or long."""
    if problem.family != "chat":
        return None
    answer = answers.get(problem.prompt)
    if answer is None:
        return "no_own_answer"
    if not _SENTENCE_END.search(answer):
        return "own_answer_unfinished"
    return "own_answer_too_long" if len(answer.split()) > settings.chat_max_words else None


def complete(problem: Problem, answers: Mapping[str, str], settings: CurateSettings) -> Problem:
    """The problem with what the base model's answer adds; chat must have no `chat_fault`."""
    answer = answers.get(problem.prompt)
    if problem.family == "chat":
        return _chat(problem, answers[problem.prompt], settings)
    if problem.family == "fact" and answer is not None:
        known = "fact_known" if check(problem, answer) else "fact_unknown"
        return replace(problem, slices=(*problem.slices, known))
    return problem


def _chat(problem: Problem, answer: str, settings: CurateSettings) -> Problem:
    question = Question(
        prompt=problem.prompt,
        reference=Reference(text=answer, answer=answer),
        checker=CheckerSpec("overlap", {"minimum_f1": settings.minimum_f1}),
        family=problem.family,
        group=problem.group,
        budget=problem.budget,
        facts=problem.facts,
    )
    return as_problem(question, split=problem.split)
