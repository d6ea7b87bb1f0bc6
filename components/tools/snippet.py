"""The part of a passage that answers a query best.

Takes a passage's text, the query's stemmed terms and a word budget; gives the text from the best starting field on.
Does not cut to tokens: the caller does, from the end.

A passage is a row of fields ("Capital name: N'Djamena; geographic coordinates: ...") or sentences. Every start of a
field is a candidate; a term found near the start counts more (its value follows it), and a term that is rare in the
passage counts more than one that is everywhere in it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

Analyze = Callable[[str], list[str]]
"""Text to comparable terms (stemmed, without stop words)."""

_FIELD_END = re.compile(r"(?<=[;.!?])\s+|\s*\n\s*")


def best_part(text: str, terms: Sequence[str], *, analyze: Analyze, words: int) -> str:
    """`text` from the field whose next `words` words cover the terms best; the earliest of equals."""
    fields = [field for field in _FIELD_END.split(text) if field]
    if len(fields) < 2 or not terms:
        return " ".join(fields)
    stems = [analyze(field) for field in fields]
    found = Counter(stem for field in stems for stem in field)
    weights = {term: 1.0 / found[term] for term in set(terms) if found[term]}
    scores = [_coverage(stems[start:], weights, words) for start in range(len(fields))]
    start = max(range(len(fields)), key=lambda index: (scores[index], -index))
    return " ".join(fields[start:])


def _coverage(stems: Sequence[Sequence[str]], weights: dict[str, float], words: int) -> float:
    """Summed weight of the distinct terms in the next `words` words, less up to half for those further down."""
    score, position, seen = 0.0, 0, set[str]()
    for field in stems:
        for stem in field:
            if stem in weights and stem not in seen:
                seen.add(stem)
                score += weights[stem] * (1.0 - 0.5 * position / words)
            position += 1
            if position >= words or len(seen) == len(weights):
                return score
    return score
