"""Seed annotations of the composite's calls to itself: GENERATED like the rest of the seed set, by `seed-script/erin`.

Takes facts, train problems and the calls on offer; gives a few demonstrations, written only where a project offers
these calls. `split`: two sub-tasks, each looked up and answered, on questions of two hops and of two figures, which are
then divided. `delegate`, on questions of two hops: the first hop is looked up, the second asked as a question that the
seed set answers elsewhere, for that is what the nested call plays. Nobody gives up in them. Another run with the same
inputs gives the same rows."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from components.curation.annotators import python, search, search_key
from components.curation.attributes import BY_NAME
from components.curation.facts import Fact
from components.curation.family_two_hop import KEYS
from components.curation.seed_annotations import FIRST_DAY, make_seed
from components.schema.annotation import AnnotatedAction, AnnotatedAnswer, AnnotatedCall, Annotation, Demonstration
from components.schema.identity import child_seed
from components.schema.problem import Problem
from components.tools.composite import DELEGATE, SPLIT

SHARE = 0.2
"""Of the train questions that a call has demonstrations for."""
SHOWN: Mapping[str, tuple[str, ...]] = {"two_hop": (DELEGATE, SPLIT), "fact_compute": (SPLIT,)}
"""Family to the calls that are demonstrated on it."""
ANNOTATOR = "seed-script/erin"


def make_composite_seed(
    facts: Sequence[Fact], problems: Sequence[Problem], *, calls: Sequence[str], seed: int
) -> Iterator[Annotation]:
    """The rows, problem by problem; none for calls that have no demonstrations."""
    by_key, questions = {fact.key: fact for fact in facts}, _questions(facts, problems, seed=seed)
    number = 0
    for problem in problems:
        rng = random.Random(child_seed(seed, "composite", problem.problem_id))
        shown = [name for name in SHOWN.get(problem.family, ()) if name in calls]
        if not shown or problem.split != "train" or rng.random() >= SHARE:
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
    if problem.family == "fact_compute":
        return _figures([facts[name] for name in problem.facts["facts"]], problem.facts["code"], rng)
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


def _figures(parts: Sequence[Fact], code: str, rng: random.Random) -> tuple[AnnotatedAction, ...]:
    """Every figure a sub-task; then what is computed from them."""
    found = [(search(fact, terse=True, rng=rng), AnnotatedAnswer(answer=f"{fact.shown()}.")) for fact in parts]
    tasks = [f"Find {fact.noun(0)}." for fact in parts]
    split = AnnotatedCall(tool=SPLIT, arguments={"tasks": tasks})
    return (split, *(action for actions in found for action in actions), python(code))
