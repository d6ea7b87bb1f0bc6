"""Labelled decoy pages that contradict facts. Takes facts and a seed; gives passages and the facts they mislead about.

A decoy is a joke, an outdated almanac or hearsay: its title says so, its text is dense with the words people search
for, so that it ranks high under any engine. The wrong values are true of other countries; the templates are our own."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from components.curation.attributes import BY_NAME
from components.curation.facts import Fact, capitalised
from components.reward.text import contains_words
from components.schema.identity import child_seed, stable_hash
from components.tools.search_index import Passage

SOURCE = "decoy page (written for Qanat)"
_ATTRIBUTES = frozenset(
    {"capital", "currency", "language", "government", "religion", "highest_point", "independence", "anthem"}
    | {"internet_code", "legislature", "population", "area", "median_age", "life_expectancy", "gdp_per_capita"}
    | {"highest_elevation", "literacy", "internet_users", "airports"}
)
_TITLES = (
    "{c}: facts they never told you (satire)",
    "{c}: almanac of 1974",
    "{c}: the joke encyclopedia",
    "{c}: outdated school atlas",
    "{c}: rumours from a travel forum",
)
_TEXTS = (
    "{keyword} of {c}: {wrong}. Everybody knows that {noun} is {wrong}.",
    "{keyword} of {c}: {wrong}. In this edition {noun} is {wrong}.",
    "{keyword} of {c}: forget what others say, {noun} is {wrong}.",
    "{keyword} of {c} explained: {noun} is {wrong}, as everybody at the bar agrees.",
    "{keyword} of {c}: {wrong}. A friend of a friend swears that {noun} is {wrong}.",
)


@dataclass(frozen=True, slots=True)
class Decoys:
    """Decoy pages, and the fact table that knows them."""

    passages: tuple[Passage, ...]
    facts: tuple[Fact, ...]
    """All facts, those contradicted by a page carrying its claim in `decoy_answer`."""


def make_decoys(facts: Sequence[Fact], *, index_size: int, share: float, seed: int) -> Decoys:
    """So many pages that they make up `share` of the index of `index_size` true passages plus them."""
    count = round(index_size * share / (1.0 - share))
    candidates = [fact for fact in facts if fact.attribute in _ATTRIBUTES]
    chosen = sorted(candidates, key=lambda fact: stable_hash(["decoy", seed, fact.key]))[:count]
    pools = _pools(facts)
    claims = {fact.key: _wrong_answer(fact, pools[fact.attribute], seed) for fact in chosen}
    contradicted = tuple(replace(fact, decoy_answer=claims.get(fact.key)) for fact in facts)
    pages = tuple(_page(fact, number) for number, fact in enumerate(f for f in contradicted if f.decoy_answer))
    return Decoys(passages=pages, facts=contradicted)


def _pools(facts: Sequence[Fact]) -> Mapping[str, list[Fact]]:
    pools: defaultdict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        pools[fact.attribute].append(fact)
    return pools


def _wrong_answer(fact: Fact, pool: Sequence[Fact], seed: int) -> str | None:
    """The answer of another country, clearly different from the right one; None if there is none."""
    others = [other for other in pool if _contradicts(fact, other)]
    rng = random.Random(child_seed(seed, "decoy", fact.key))
    return rng.choice(others).answer if others else None


def _contradicts(fact: Fact, other: Fact) -> bool:
    if fact.value is not None and other.value is not None:
        return abs(fact.value - other.value) > 0.2 * max(fact.value, other.value)
    good = (fact.answer, *fact.aliases)
    return not any(contains_words(other.answer, span) or contains_words(span, other.answer) for span in good)


def _page(fact: Fact, number: int) -> Passage:
    rng = random.Random(child_seed(number, fact.key))
    words = {
        "c": fact.country,
        "keyword": capitalised(BY_NAME[fact.attribute].keyword),
        "noun": fact.noun(rng.randrange(2)),
        "wrong": fact.shown(fact.decoy_answer),
    }
    text = rng.choice(_TEXTS).format(**words)
    return Passage(
        f"decoy-{fact.code}-{fact.attribute}", rng.choice(_TITLES).format(**words), SOURCE, text, is_decoy=True
    )
