"""Reading plain text for judging: words, numbers, arithmetic. Takes strings; gives normal forms. Judges nothing."""

from __future__ import annotations

import ast
import operator
import re
import unicodedata
from collections.abc import Callable, Mapping
from fractions import Fraction

_DROPPED = re.compile(r"['’‘`´ʻʼ.]")
_NOT_WORD = re.compile(r"[^\w]+")
_SCALES: Mapping[str, float] = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
_NUMBER = re.compile(
    r"(?<![\w.,])(?P<sign>[-−]?)\$?(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*\.\d+|\d+)(?![\w]|[.,]\d)"
    r"(?:\s*(?P<scale>thousand|million|billion|trillion)\b)?",
    re.IGNORECASE,
)
_UNIT_SUFFIX = re.compile(r"(?<=\d)(?=(?:km|m|sq|kg|years?|%)\b)", re.IGNORECASE)
_ASIDES = re.compile(
    r"\((?:[^()]*\b)?(?:19|20)\d\d(?:-\d+)?\b[^()]*\)"  # (2025 est.)
    r"|\b(?:in|as of|since|for|by|year)\s+(?:19|20)\d\d\b(?!\s*(?:[,.]\d|thousand|million|billion))"  # in 2025
    r"|(?:\bper|/)\s*1,?000\b",  # per 1,000 people
    re.IGNORECASE,
)
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_OPERATORS: Mapping[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def plain_words(text: str) -> tuple[str, ...]:
    """Words without case, accents and punctuation; apostrophes and full stops vanish (`N'Djamena` -> `ndjamena`)."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return tuple(_NOT_WORD.sub(" ", _DROPPED.sub("", bare.casefold())).split())


def contains_words(text: str, phrase: str) -> bool:
    """Whether the words of `phrase` occur in `text` next to each other."""
    return _find(plain_words(text), plain_words(phrase)) is not None


def _find(words: tuple[str, ...], wanted: tuple[str, ...]) -> int | None:
    if not wanted:
        return None
    starts = range(len(words) - len(wanted) + 1)
    return next((i for i in starts if words[i : i + len(wanted)] == wanted), None)


def is_denied(text: str, phrase: str) -> bool:
    """Whether `phrase` stands right behind a "not" (`the capital is not Lima`)."""
    words, wanted = plain_words(text), plain_words(phrase)
    at = _find(words, wanted)
    return at is not None and any(word in {"not", "isnt", "never"} for word in words[max(0, at - 2) : at])


def numbers_in(text: str) -> tuple[float, ...]:
    """Every number in reading order, scaled by `million` etc.; dates in brackets and `per 1,000` are left out."""
    cleaned = _UNIT_SUFFIX.sub(" ", _ASIDES.sub(" ", text))
    found = tuple(_value(match) for match in _NUMBER.finditer(cleaned))
    found = found or tuple(_value(match) for match in _NUMBER.finditer(text))
    return found or tuple(float(_WORDS.index(word)) for word in plain_words(text) if word in _WORDS)


def _value(match: re.Match[str]) -> float:
    scale = _SCALES[match["scale"].lower()] if match["scale"] else 1.0
    return (-1.0 if match["sign"] else 1.0) * float(match["digits"].replace(",", "")) * scale


def evaluate_arithmetic(text: str) -> tuple[Fraction, tuple[int, ...]] | None:
    """Exact value and the whole numbers used, for + - * / and brackets only; None if `text` is anything else."""
    if len(text) > 200:
        return None
    try:
        tree = ast.parse(text.strip(), mode="eval")
        return _evaluate(tree.body)
    except (SyntaxError, ZeroDivisionError, _NotArithmeticError, RecursionError, MemoryError):
        return None


class _NotArithmeticError(ValueError):
    """The expression holds something else than the four operations over whole numbers."""


def _evaluate(node: ast.expr) -> tuple[Fraction, tuple[int, ...]]:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return Fraction(node.value), (node.value,)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, used_left = _evaluate(node.left)
        right, used_right = _evaluate(node.right)
        return _OPERATORS[type(node.op)](left, right), used_left + used_right
    raise _NotArithmeticError(ast.dump(node))
