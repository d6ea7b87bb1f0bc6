"""Wrong answers to contrast a reference with. Takes problems; gives, for each, references whose answer is wrong.

The likelihood of a whole sentence is mostly its template, which a wrong answer earns as well (science.md 3): what is
left when both are subtracted is what the tool responses say about the answer. Scores nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice

from components.reward.checkers import check
from components.schema.identity import stable_hash
from components.schema.problem import Problem, Reference

Rivals = Callable[[Problem], tuple[Reference, ...]]


def rivals_of(problems: Sequence[Problem], count: int) -> Rivals:
    """`count` wrong answers a problem (fewer where there are fewer), always the same ones.

    First those that its checker names (a decoy's claim, the rest of a closed set), then answers to other problems of
    its family that its checker refuses: those of the same kind of fact, where the generator named one, before others.
    """
    answers: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for problem in problems if count else ():
        answers[problem.family].add((_kind(problem), problem.reference.answer))

    def rivals(problem: Problem) -> tuple[Reference, ...]:
        named = [str(rival) for rival in problem.checker.settings.get("rivals", ())]
        others = sorted(
            answers[problem.family],
            key=lambda found: (found[0] != _kind(problem), stable_hash([problem.problem_id, found[1]])),
        )
        candidates = dict.fromkeys((*named, *(answer for _, answer in others)))
        wrong = list(islice((answer for answer in candidates if not check(problem, answer)), count))
        if not wrong:
            raise ValueError(
                f"problem {problem.problem_id} (family {problem.family}): no wrong answer to contrast its reference "
                "with; set reward.distractors to 0"
            )
        return tuple(_instead(problem.reference, answer) for answer in wrong)

    return rivals if count else lambda problem: ()


def _kind(problem: Problem) -> str:
    return str(problem.facts.get("fact", "")).rpartition("/")[2]


def _instead(reference: Reference, answer: str) -> Reference:
    return replace(reference, text=reference.text.replace(reference.answer, answer, 1), answer=answer, aliases=())
