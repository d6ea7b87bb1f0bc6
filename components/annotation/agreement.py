"""How far annotators agree on the first decision: share of equal ones and Cohen's kappa.

Takes what annotators said; gives one line a pair of people who looked at the same prompts. Kappa is
(p_o - p_e) / (1 - p_e) with p_e from each person's own frequencies (Cohen 1960). Judges nobody and drops no row.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from pydantic import ValidationError

from components.records.lines import read_lines
from components.schema.annotation import (
    ANNOTATION,
    AnnotatedAnswer,
    AnnotatedCall,
    Annotation,
    Demonstration,
    Preference,
)
from components.schema.trajectory import ANSWER


@dataclass(frozen=True, slots=True)
class Said:
    """Somebody's first decision on a prompt."""

    annotator: str
    prompt: str
    decision: str
    """`answer` or a tool's name."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two people on the prompts that both of them annotated."""

    first: str
    second: str
    prompts: int
    equal: float
    """Share of prompts with the same first decision, p_o."""
    kappa: float | None
    """None where chance alone would make them agree everywhere (both always say the same one thing)."""


def decision_of(annotation: Annotation) -> str | None:
    """`answer` or the tool that the annotation would begin with; None where it speaks of no first decision."""
    if isinstance(annotation, Demonstration):
        return _decision(annotation.steps[0]) if annotation.steps else ANSWER
    if isinstance(annotation, Preference) and not annotation.steps:
        return _decision(annotation.chosen)
    return None


def _decision(action: AnnotatedCall | AnnotatedAnswer) -> str:
    return action.tool if isinstance(action, AnnotatedCall) else ANSWER


def said_in(file: Path) -> tuple[Said, ...]:
    """The first decisions in an annotation file; rows that are no annotation are left out."""
    found = []
    for line in read_lines(file):
        with contextlib.suppress(ValidationError):
            annotation = ANNOTATION.validate_json(line.content)
            decision = decision_of(annotation)
            if decision is not None:
                found.append(Said(annotation.annotator, annotation.prompt, decision))
    return tuple(found)


def agreements(everything: Iterable[Said]) -> tuple[Agreement, ...]:
    """Every pair with prompts in common, the most prompts first; the last word of a person on a prompt counts."""
    said: dict[str, dict[str, str]] = {}
    for one in everything:
        said.setdefault(one.annotator, {})[one.prompt] = one.decision
    pairs = (_agreement(one, other, said) for one, other in combinations(sorted(said), 2))
    return tuple(sorted((pair for pair in pairs if pair.prompts), key=lambda pair: -pair.prompts))


def _agreement(one: str, other: str, said: Mapping[str, Mapping[str, str]]) -> Agreement:
    prompts = sorted(said[one].keys() & said[other].keys())
    firsts, seconds = [said[one][prompt] for prompt in prompts], [said[other][prompt] for prompt in prompts]
    equal = sum(a == b for a, b in zip(firsts, seconds, strict=True)) / len(prompts) if prompts else 0.0
    return Agreement(one, other, len(prompts), equal, _kappa(firsts, seconds, equal))


def _kappa(firsts: Sequence[str], seconds: Sequence[str], equal: float) -> float | None:
    if not firsts:
        return None
    a, b, count = Counter(firsts), Counter(seconds), len(firsts)
    # in whole numbers, so that perfect agreement by chance is seen as such
    by_chance = sum(a[name] * b[name] for name in a)
    if by_chance == count * count:
        return None
    chance = by_chance / (count * count)
    return (equal - chance) / (1.0 - chance)
