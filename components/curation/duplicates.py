"""Near-duplicate annotations. Takes texts in order; says which repeat an earlier one. Does not know what a good row is.

Similarity is Jaccard over word sets, and the numbers must be the same ones: 17 + 24 is no duplicate of 17 + 25.
Candidates are found by prefix filtering (Chaudhuri et al. 2006): two sets with similarity >= t share one of their first
|x| - ceil(t |x|) + 1 words, rarest first."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from components.reward.text import plain_words


def near_duplicates(texts: Sequence[str], similarity: float) -> dict[int, int]:
    """Index of every text that repeats an earlier kept one, to the index of that one."""
    words = [plain_words(text) for text in texts]
    frequency = Counter(word for row in words for word in set(row))
    seen: defaultdict[str, list[int]] = defaultdict(list)
    repeats: dict[int, int] = {}
    for index, row in enumerate(words):
        prefix = _prefix(row, frequency, similarity)
        candidates = sorted({earlier for word in prefix for earlier in seen[word]})
        match = next((earlier for earlier in candidates if _similar(row, words[earlier], similarity)), None)
        if match is not None:
            repeats[index] = match
            continue
        for word in prefix:
            seen[word].append(index)
    return repeats


def _prefix(row: Sequence[str], frequency: Counter[str], similarity: float) -> list[str]:
    distinct = sorted(set(row), key=lambda word: (frequency[word], word))
    return distinct[: len(distinct) - math.ceil(similarity * len(distinct)) + 1]


def _similar(left: Sequence[str], right: Sequence[str], similarity: float) -> bool:
    if _numbers(left) != _numbers(right):
        return False
    first, second = set(left), set(right)
    return len(first & second) >= similarity * len(first | second)


def _numbers(row: Sequence[str]) -> list[str]:
    return [word for word in row if any(character.isdigit() for character in word)]
