"""The typed fact table. Takes countries and passages; gives facts whose answers are clean and stand in a passage.

It asks no questions: see the `family_*` modules."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.curation.attributes import ATTRIBUTES, BY_NAME, Attribute, FactKind
from components.curation.factbook import Country
from components.curation.passages import field_opening
from components.curation.readings import Reading, read_answer
from components.records.codec import from_json
from components.reward.text import plain_words
from components.tools.search_index import Passage

_NOT_COUNTRIES = frozenset({"ee", "xx"})
"""The European Union and the world: everything about them is also about their parts."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is true of one country."""

    code: str
    """The country's Factbook code."""
    country: str
    """The country's name, as in passage titles."""
    in_sentence: str
    """The name inside a sentence (`the Gambia`)."""
    attribute: str
    """Key of `attributes.BY_NAME`."""
    kind: FactKind
    answer: str
    """Short, verbatim from the passage."""
    aliases: tuple[str, ...]
    value: float | None
    """The number of a number fact; None for text facts."""
    wording: str
    """The Factbook's own text of the field, as the passage shows it."""
    passage_id: str
    """First passage that holds the answer in its field."""
    decoy_answer: str | None = None
    """What a decoy page claims instead; such facts are asked about in the decoy family only. None without decoy."""

    @property
    def key(self) -> str:
        """Names the fact: country code and attribute."""
        return f"{self.code}/{self.attribute}"

    def noun(self, variant: int = 0) -> str:
        """The fact's name in a sentence: `the capital of Chad`."""
        nouns = BY_NAME[self.attribute].nouns
        return nouns[variant % len(nouns)].format(c=self.in_sentence)

    def shown(self, answer: str | None = None) -> str:
        """The answer (by default the right one) with its unit, as a sentence ends with it."""
        unit = BY_NAME[self.attribute].unit
        joint = "" if unit in {"", "%"} else " "
        return f"{answer or self.answer}{joint}{unit}"

    def sentence(self, answer: str | None = None) -> str:
        """A full short answer, by default the right one: `The capital of Chad is N'Djamena.`"""
        return f"{capitalised(self.noun())} is {self.shown(answer)}."


def capitalised(text: str) -> str:
    """`text` with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def read_facts(path: Path) -> tuple[Fact, ...]:
    """The fact table that the stage `corpus` wrote."""
    return tuple(from_json(Fact, row) for row in json.loads(path.read_text(encoding="utf-8")))


def make_facts(countries: Sequence[Country], passages: Sequence[Passage]) -> tuple[Fact, ...]:
    """All clean facts, country by country."""
    by_code: Mapping[str, list[Passage]] = _passages_by_code(passages)
    inhabited = [country for country in countries if country.code not in _NOT_COUNTRIES and _has_people(country)]
    return tuple(
        fact
        for country in inhabited
        for attribute in ATTRIBUTES
        for fact in _fact(country, attribute, by_code.get(country.code, []))
    )


def _has_people(country: Country) -> bool:
    total = country.value("People and Society", "Population", "total")
    return total is not None and total[0].isdigit() and total[0] != "0"


def _passages_by_code(passages: Sequence[Passage]) -> Mapping[str, list[Passage]]:
    grouped: defaultdict[str, list[Passage]] = defaultdict(list)
    for passage in passages:
        if not passage.is_decoy:
            grouped[passage.passage_id.split("-")[1]].append(passage)
    return grouped


def _fact(country: Country, attribute: Attribute, passages: Sequence[Passage]) -> Iterator[Fact]:
    texts = (country.value(attribute.section, attribute.field, name) for name in attribute.subfields)
    text = next((text for text in texts if text), None)
    reading = read_answer(attribute, text) if text else None
    if text is None or reading is None or _given_away(reading, country):
        return
    passage = next((p for p in passages if _holds(p, country, attribute, reading)), None)
    if passage is not None:
        yield Fact(
            code=country.code,
            country=country.name,
            in_sentence=country.in_sentence,
            attribute=attribute.name,
            kind=attribute.kind,
            answer=reading.answer,
            aliases=reading.aliases,
            value=reading.value,
            wording=text,
            passage_id=passage.passage_id,
        )


def _given_away(reading: Reading, country: Country) -> bool:
    """Whether the country's name already says the answer (Singapore), so that an echo would count as right."""
    name = set(plain_words(country.name))
    return set(plain_words(reading.answer)) <= name


def _holds(passage: Passage, country: Country, attribute: Attribute, reading: Reading) -> bool:
    at = passage.text.find(field_opening(attribute.field, country))
    return at >= 0 and reading.answer in passage.text[at:]
