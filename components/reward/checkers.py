"""Is an answer right? Takes a problem and the answer's text; gives True or False.

Four kinds (see `CheckerSpec`): phrase, number, overlap, expression. It does not grade by degrees (that is the
likelihood reward's work), calls no model, and looks at the answer only, never at how it was found. Each kind refuses
the cheap trick of naming many candidates in the hope that one fits."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from fractions import Fraction

from components.reward.text import contains_words, evaluate_arithmetic, is_denied, numbers_in, plain_words
from components.schema.problem import CheckerKind, Problem

MAXIMUM_WORDS = 40
"""A phrase or number answer longer than this is a guess by enumeration, or rambling."""
MAXIMUM_LISTED = 5
"""A phrase answer may list at most so many candidates (a country's languages, say)."""
_SEPARATORS = re.compile(r"[,;\n|]|\bor\b|\band\b|/", re.IGNORECASE)
_EXPRESSION = re.compile(r"[\d(][\d\s()+\-*/]*[\d)]")


def check(problem: Problem, answer: str) -> bool:
    """Whether `answer` solves `problem`."""
    return _CHECKERS[problem.checker.kind](problem, answer)


def _phrase(problem: Problem, answer: str) -> bool:
    if len(plain_words(answer)) > MAXIMUM_WORDS or len(_SEPARATORS.findall(answer)) >= MAXIMUM_LISTED:
        return False
    good = (problem.reference.answer, *problem.reference.aliases)
    hits = [span for span in good if contains_words(answer, span) and not is_denied(answer, span)]
    return bool(hits) and not any(_names_rival(answer, rival, hits, problem) for rival in _rivals(problem))


def _rivals(problem: Problem) -> tuple[str, ...]:
    """Wrong answers of a closed set (the other weekdays, a decoy's claim) that must not stand beside the right one."""
    return tuple(problem.checker.settings.get("rivals", ()))


def _names_rival(answer: str, rival: str, hits: list[str], problem: Problem) -> bool:
    allowed = any(contains_words(hit, rival) for hit in hits) or contains_words(problem.prompt, rival)
    return contains_words(answer, rival) and not allowed and not is_denied(answer, rival)


def _number(problem: Problem, answer: str) -> bool:
    if len(plain_words(answer)) > MAXIMUM_WORDS:
        return False
    numbers = numbers_in(answer.rsplit("=", 1)[-1]) or numbers_in(answer)
    if not numbers:
        return False
    # An answer may repeat the question's figures; what it claims is the last figure of its own.
    asked = set(numbers_in(problem.prompt))
    own = [number for number in numbers if number not in asked] or list(numbers)
    value = float(problem.checker.settings["value"])
    tolerance = float(problem.checker.settings.get("relative_tolerance", 0.0))
    claimed = numbers[-1] if value in asked else own[-1]
    return abs(claimed - value) <= max(tolerance * abs(value), 1e-9 * max(1.0, abs(value)))


def _overlap(problem: Problem, answer: str) -> bool:
    wanted = (problem.reference.text, problem.reference.answer, *problem.reference.aliases)
    minimum = float(problem.checker.settings.get("minimum_f1", 0.5))
    return max(unigram_f1(answer, text, given=problem.prompt) for text in wanted) >= minimum


def unigram_f1(answer: str, reference: str, *, given: str = "") -> float:
    """Harmonic mean of word precision and recall, counting repeated words.

    Words of `given` (the question) do not count, unless the reference has no others: an answer that only echoes the
    question is worth nothing.
    """
    left, right = Counter(plain_words(answer)), Counter(plain_words(reference))
    echoed = set(plain_words(given))
    if any(word not in echoed for word in right):
        left, right = (Counter({w: n for w, n in c.items() if w not in echoed}) for c in (left, right))
    common = sum((left & right).values())
    return 2.0 * common / (left.total() + right.total()) if common else 0.0


def _expression(problem: Problem, answer: str) -> bool:
    """The first arithmetic expression in the answer is judged; whole-number literals must come from the given ones."""
    settings: Mapping[str, object] = problem.checker.settings
    given = Counter(int(str(number)) for number in _as_tuple(settings["numbers"]))
    tidy = answer.replace("×", "*").replace("÷", "/").replace("−", "-")
    candidates = [text for text in _EXPRESSION.findall(tidy.split("=")[0]) if re.search(r"\d[\s)]*[-+*/]", text)]
    result = evaluate_arithmetic(candidates[0]) if candidates else None
    if result is None:
        return False
    value, used = result[0], Counter(result[1])
    enough = used == given if settings.get("use_all", False) else used <= given
    return enough and value == Fraction(str(settings["target"]))


def _as_tuple(value: object) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"expected a list of numbers, got {value!r}")
    return tuple(value)


_CHECKERS: Mapping[CheckerKind, Callable[[Problem, str], bool]] = {
    "phrase": _phrase,
    "number": _number,
    "overlap": _overlap,
    "expression": _expression,
}
