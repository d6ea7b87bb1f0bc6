"""Seed annotations of the composite's calls to itself: GENERATED like the rest of the seed set, by `seed-script/erin`.

Takes facts, train problems and the calls on offer; gives a few demonstrations on questions of two hops, written only
where a project offers these calls. `split`: two sub-tasks, each looked up and answered. `delegate`: the first hop is
looked up, the second asked as a question that the seed set answers elsewhere, for that is what the nested call plays.
Nobody gives up in them. Another run with the same inputs gives the same rows."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from components.curation.annotators import search, search_key
from components.curation.attributes import BY_NAME
from components.curation.facts import Fact
from components.curation.family_two_hop import KEYS
from components.curation.seed_annotations import FIRST_DAY, make_seed
from components.schema.annotation import AnnotatedAction, AnnotatedAnswer, AnnotatedCall, Annotation, Demonstration
from components.schema.identity import child_seed
from components.schema.problem import Problem
from components.tools.composite import DELEGATE, SPLIT

SHARE = 0.2
"""Of the train questions of two hops."""
ANNOTATOR = "seed-script/erin"


def make_composite_seed(
    facts: Sequence[Fact], problems: Sequence[Problem], *, calls: Sequence[str], seed: int
) -> Iterator[Annotation]:
    """The rows, problem by problem; none for calls that have no demonstrations."""
    shown = [name for name in (DELEGATE, SPLIT) if name in calls]
    by_key, questions = {fact.key: fact for fact in facts}, _questions(facts, problems, seed=seed)
    number = 0
    for problem in problems:
        rng = random.Random(child_seed(seed, "composite", problem.problem_id))
        if not shown or problem.split != "train" or problem.family != "two_hop" or rng.random() >= SHARE:
            continue
        steps = _steps(rng.choice(shown), problem, by_key, questions, rng)
        if steps:
            yield Demonstration(
                kind="demonstration",
                annotation_id=f"seed-composite-{number:05d}",
                prompt=problem.prompt,
                steps=steps,
                answer=problem.reference.text,
                annotator=ANNOTATOR,
                created=FIRST_DAY,
            )
            number += 1


def _questions(facts: Sequence[Fact], problems: Sequence[Problem], *, seed: int) -> Mapping[str, Sequence[str]]:
    """By fact, the prompts about it that the seed set demonstrates, with a right answer."""
    right = {problem.prompt: problem.reference.text for problem in problems}
    rows = make_seed(facts, problems, seed=seed)
    told = {row.prompt for row in rows if isinstance(row, Demonstration) and row.answer == right[row.prompt]}
    questions: defaultdict[str, list[str]] = defaultdict(list)
    for problem in problems:
        if problem.family in {"fact", "number"} and problem.prompt in told:
            questions[problem.facts["fact"]].append(problem.prompt)
    return questions


def _steps(
    call: str,
    problem: Problem,
    facts: Mapping[str, Fact],
    questions: Mapping[str, Sequence[str]],
    rng: random.Random,
) -> tuple[AnnotatedAction, ...]:
    """What is done before the final answer; nothing where nobody could play the nested question."""
    key, fact = facts[problem.facts["key"]], facts[problem.facts["fact"]]
    first = search_key(key, terse=True)
    if call == DELEGATE:
        asked = questions.get(fact.key, ())
        return (first, AnnotatedCall(tool=DELEGATE, arguments={"question": rng.choice(asked)})) if asked else ()
    noun = BY_NAME[fact.attribute].nouns[0].format(c="that country")
    tasks = [f"Find {KEYS[key.attribute].format(a=key.answer)}.", f"Find {noun}."]
    return (
        AnnotatedCall(tool=SPLIT, arguments={"tasks": tasks}),
        first,
        AnnotatedAnswer(answer=f"{key.country}."),
        search(fact, terse=True, rng=rng),
        AnnotatedAnswer(answer=f"{fact.shown()}."),
    )
