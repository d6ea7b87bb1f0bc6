"""Which problem an annotation is about. Takes annotations and problems; gives matches. Judges no content.

An annotation names its problem by the exact prompt. One with a reference of its own and a prompt that no problem has
makes a train problem of the family `annotated`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from components.curation.ledger import Ledger
from components.curation.own_problems import checker_for
from components.curation.problem_making import Question, as_problem
from components.schema.annotation import AnnotatedReference, Annotation, Preference
from components.schema.problem import Budget, Problem, Reference, Split


@dataclass(frozen=True, slots=True)
class Match:
    """An annotation with its problem."""

    annotation: Annotation
    problem: Problem


def match_all(
    annotations: Sequence[Annotation],
    problems: Mapping[str, Problem],
    pool: Mapping[str, Split],
    ledger: Ledger,
    *,
    tools: Sequence[str],
) -> Iterator[Match]:
    """Matches with train problems (by prompt); `pool` tells the split of prompts that this profile did not draw.

    `tools`: names of the tools that a problem made here may use.
    """
    made: dict[str, Problem] = {}
    for annotation in annotations:
        prompt = annotation.prompt
        problem = problems.get(prompt) or made.get(prompt)
        split = problem.split if problem else pool.get(prompt)
        if split is not None and split != "train":
            ledger.drop(annotation, problem.family if problem else "unknown", "held_out", "prompt")
        elif problem is not None:
            yield Match(annotation, problem)
        elif split == "train":
            ledger.skip(annotation.kind)
        else:
            reference = None if isinstance(annotation, Preference) else annotation.reference
            if reference is None:
                ledger.drop(annotation, "unknown", "unknown_prompt", "prompt")
            else:
                made[prompt] = replace(_annotated_problem(prompt, reference), tool_names=tuple(tools))
                yield Match(annotation, made[prompt])


def _annotated_problem(prompt: str, reference: AnnotatedReference) -> Problem:
    question = Question(
        prompt=prompt,
        reference=Reference(text=reference.text, answer=reference.answer, aliases=reference.aliases),
        checker=checker_for(reference.answer),
        family="annotated",
        group=f"annotated:{prompt}",
        budget=Budget(),
        facts={},
    )
    return as_problem(question, split="train")
