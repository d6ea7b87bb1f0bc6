"""Passages for the search index. Takes countries; gives short texts with id, title and source. Makes no decoys."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from components.curation.factbook import Country
from components.tools.search_index import Passage

SOURCE = "CIA World Factbook"
_SENTENCE_END = re.compile(r"(?<=[.;])\s+|(?<=,)\s+")


FIELD_LABELS: Mapping[str, str] = {
    "Map references": "Continent or map region",
    "Exchange rates": "Currency and exchange rates",
    "Legislative branch": "Legislature (legislative branch)",
}
"""Plainer names for fields that people ask about under another word."""
SUBFIELD_LABELS: Mapping[tuple[str, str], str] = {
    ("Population", "total"): "total population of {c}",
    ("Population", "male"): "male population of {c}",
    ("Population", "female"): "female population of {c}",
    ("Capital", "name"): "capital city of {c}",
    ("Capital", "geographic coordinates"): "coordinates of the capital of {c}",
    ("Exchange rates", "Currency"): "currency of {c}",
    ("Area", "total"): "total area",
    ("Nationality", "adjective"): "nationality adjective",
}


SHORT_FIELDS = frozenset({"Population", "Capital", "Exchange rates", "Religions", "Legislative branch"})
"""Fields that people ask about most: they start a passage of their own, cut after `SHORT_WORDS` words."""
SHORT_WORDS = 30
SECTION_TITLES: Mapping[str, str] = {
    "People and Society": "People",
    "Military and Security": "Military",
    "Transnational Issues": "Transnational",
}
"""One word each: BM25 would rank passages under a longer title lower, whatever they say."""


def make_passages(countries: Sequence[Country], *, max_words: int) -> tuple[Passage, ...]:
    """Consecutive fields of each section, packed into passages of at most `max_words` words (title not counted)."""
    return tuple(passage for country in countries for passage in _country_passages(country, max_words))


def _country_passages(country: Country, max_words: int) -> Iterator[Passage]:
    seen: set[str] = set()
    number = 0
    for section in country.sections:
        for text in _section_texts(country, section, seen, max_words):
            title = f"{country.name}: {SECTION_TITLES.get(section, section)}"
            yield Passage(f"fb-{country.code}-{number}", title, SOURCE, text, is_decoy=False)
            number += 1


def _section_texts(country: Country, section: str, seen: set[str], max_words: int) -> Iterator[str]:
    """Fields as texts; a field that the Factbook prints in two sections is kept where it stands first."""
    run: list[str] = []
    for field, subfields in country.sections[section].items():
        text = f"{field_opening(field, country)}{_field_body(field, subfields, country)}"
        if text in seen:
            continue
        seen.add(text)
        continuation = f"{country.name}, continued: "
        if field in SHORT_FIELDS:
            yield from pack(run, max_words)
            yield from split_field(text, continuation, SHORT_WORDS)
            run = []
        else:
            run += split_field(text, continuation, max_words)
    yield from pack(run, max_words)


def field_opening(field: str, country: Country) -> str:
    """How a field's text opens; it names the country, for a passage must make sense alone: `Capital of Chad: `"""
    return f"{FIELD_LABELS.get(field, field)} of {country.in_sentence}: "


def _field_body(field: str, subfields: Mapping[str, str], country: Country) -> str:
    parts = (
        _subfield_text(field, label, text).replace("{c}", country.in_sentence) for label, text in subfields.items()
    )
    return f"{'; '.join(parts).rstrip(' .;-')}."


def _subfield_text(field: str, label: str, text: str) -> str:
    repeats = not label or label == "note" or label.casefold() == field.casefold() or text.startswith(label)
    return text if repeats else f"{SUBFIELD_LABELS.get((field, label), label)}: {text}"


def split_field(text: str, continuation: str, max_words: int) -> Iterator[str]:
    """The text itself, or its pieces cut after a sentence or a comma, the later ones opened by `continuation`."""
    if len(text.split()) <= max_words:
        yield text
        return
    room = max_words - len(continuation.split())
    for number, piece in enumerate(pack(_short_parts(text, room), room)):
        yield piece if number == 0 else continuation + piece


def _short_parts(text: str, room: int) -> Iterator[str]:
    for part in _SENTENCE_END.split(text):
        words = part.split()
        yield from (" ".join(words[at : at + room]) for at in range(0, len(words), room))


def pack(parts: Iterable[str], max_words: int) -> Iterator[str]:
    """Parts in order, joined by a space as long as the whole stays within `max_words`."""
    held: list[str] = []
    count = 0
    for part in parts:
        size = len(part.split())
        if held and count + size > max_words:
            yield " ".join(held)
            held, count = [], 0
        held.append(part)
        count += size
    if held:
        yield " ".join(held)
