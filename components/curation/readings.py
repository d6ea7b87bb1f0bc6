"""How a Factbook entry becomes a short answer. Takes the cleaned text of one field; gives `Reading` or None.

None means "not clean enough to ask about". It looks at one field only and knows nothing of passages."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from components.curation.attributes import Attribute

LONGEST_ANSWER = 5
"""Words of a text answer; longer ones are descriptions, not facts."""
_SCALES: Mapping[str, float] = {"million": 1e6, "billion": 1e9, "trillion": 1e12}
_FIGURE = re.compile(
    r"^(?P<shown>\$?(?P<digits>\d[\d,]*(?:\.\d+)?)(?: (?P<scale>million|billion|trillion))?)(?![\d,-])"
)
_ELEVATION = re.compile(r"^(?P<name>[^\d;(]+?)(?: \([^)]*\))? (?P<rest>\d[\d,.]* m)\b")
_SHARE = re.compile(r"^(?P<name>[A-Z][A-Za-z' -]+?)(?: \([^)]*\))? (?P<share>\d+(?:\.\d+)?)%")
_DATE = re.compile(r"^\d{1,2} [A-Z][a-z]+ (?P<year>\d{4})\b")
_QUOTED = re.compile(r"[\"“](?P<title>[^\"”]+)[\"”]")
_OFFICIAL = re.compile(r"(?:^|, |and )(?P<name>[A-Z][A-Za-z' -]+?) (?:\([A-Z][^)]*\) )?\(official\)")
_RELIGIONS: Mapping[str, tuple[str, ...]] = {
    "Muslim": ("Islam", "Islamic", "Muslims"),
    "Islam": ("Muslim", "Islamic"),
    "Christian": ("Christianity", "Christians"),
    "Buddhist": ("Buddhism", "Buddhists"),
    "Hindu": ("Hinduism", "Hindus"),
    "Roman Catholic": ("Catholic", "Catholicism", "Roman Catholicism"),
    "Catholic": ("Catholicism", "Roman Catholic", "Roman Catholicism"),
    "Protestant": ("Protestantism",),
    "Jewish": ("Judaism",),
}
_REGIONS: Mapping[str, tuple[str, ...]] = {
    "Southeast Asia": ("Asia",),
    "Central Asia": ("Asia",),
    "Middle East": ("Asia",),
    "Central America and the Caribbean": ("Central America", "Caribbean"),
    "Antarctic Region": ("Antarctica", "Antarctic"),
}


@dataclass(frozen=True, slots=True)
class Reading:
    """A clean answer."""

    answer: str
    """As it stands in the passage."""
    aliases: tuple[str, ...] = ()
    value: float | None = None
    """The number, for number facts."""


def read_answer(attribute: Attribute, text: str) -> Reading | None:
    """The answer that `text` holds for `attribute`, if it is short and unambiguous."""
    if attribute.kind == "number":
        return _number(text, after_name=attribute.name == "highest_elevation")
    reading = _READERS.get(attribute.name, _plain)(text)
    if reading is None or not 0 < len(reading.answer.split()) <= LONGEST_ANSWER:
        return None
    return None if reading.answer.casefold() in {"none", "na", "n/a", "unknown"} else reading


def _number(text: str, *, after_name: bool) -> Reading | None:
    if after_name:
        elevation = _ELEVATION.match(text)
        if elevation is None:
            return None
        text = elevation["rest"]
    figure = _FIGURE.match(text)
    if figure is None:
        return None
    value = float(figure["digits"].replace(",", "")) * _SCALES.get(figure["scale"] or "", 1.0)
    return Reading(answer=figure["shown"], value=value) if value > 0 else None


def _plain(text: str) -> Reading | None:
    """The text up to a note or bracket; None when it lists several things."""
    first = re.split(r" \(|;", text)[0].strip(" ,").rstrip(".")
    return None if "," in first or " note" in first else Reading(first)


def _capital(text: str) -> Reading | None:
    if ";" in text and "note" not in text:
        return None
    reading = _plain(text)
    return reading and Reading(re.sub(r" in [A-Z].*| on .*|\*$", "", reading.answer))


def _currency(text: str) -> Reading | None:
    match = re.match(r"^(?P<name>[A-Za-z' -]+?) \((?P<code>[A-Z]{3})\) per US dollar", text)
    if match is None:
        return None
    name = match["name"]
    singular = re.sub(r"(?<=[a-z])s$", "", name)
    return Reading(name, tuple(alias for alias in (singular, match["code"]) if alias != name))


def _region(text: str) -> Reading | None:
    reading = _plain(text)
    return reading and Reading(reading.answer, _REGIONS.get(reading.answer, ()))


def _language(text: str) -> Reading | None:
    names = tuple(match["name"] for match in _OFFICIAL.finditer(text))
    return Reading(names[0], names[1:]) if names else None


def _nationality(text: str) -> Reading | None:
    names = re.split(r" or |, ", re.split(r" \(|;", text)[0])
    return Reading(names[0], tuple(names[1:]))


def _religion(text: str) -> Reading | None:
    first = _SHARE.match(text)
    if first is None or float(first["share"]) <= 50:
        return None
    return Reading(first["name"], _RELIGIONS.get(first["name"], ()))


def _highest_point(text: str) -> Reading | None:
    match = _ELEVATION.match(text)
    if match is None or re.search(r"unnamed|location|point on|\bno\b", match["name"], re.IGNORECASE):
        return None
    return Reading(match["name"].strip(" ,"))


def _independence(text: str) -> Reading | None:
    match = _DATE.match(text)
    return Reading(match["year"]) if match else None


def _anthem(text: str) -> Reading | None:
    match = _QUOTED.search(text)
    return Reading(match["title"].strip(" ,")) if match else None


_READERS: Mapping[str, Callable[[str], Reading | None]] = {
    "capital": _capital,
    "currency": _currency,
    "region": _region,
    "language": _language,
    "nationality": _nationality,
    "religion": _religion,
    "highest_point": _highest_point,
    "independence": _independence,
    "anthem": _anthem,
}
