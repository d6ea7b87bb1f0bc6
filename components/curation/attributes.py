"""Which facts are asked about, where they stand in the Factbook, how people name them. A table; reads no files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FactKind = Literal["text", "number"]


@dataclass(frozen=True, slots=True)
class Attribute:
    """One kind of fact about a country."""

    name: str
    kind: FactKind
    section: str
    field: str
    subfields: tuple[str, ...]
    """Subfields to try, in order; the empty name is the field's own text."""
    nouns: tuple[str, ...]
    """Ways to name it in a sentence, `{c}` being the country; the first opens the reference sentence."""
    keyword: str
    """What a terse query says beside the country's name; its words stand in the passage."""
    unit: str = ""
    """Unit behind a number in the reference sentence."""
    rivals: tuple[str, ...] = ()
    """For a closed set of answers: the whole set."""


_PARTS = ("Africa", "Asia", "Europe", "North America", "South America", "Oceania", "Antarctic Region")


def _text(
    name: str,
    place: str,
    nouns: tuple[str, ...],
    keyword: str,
    subfields: tuple[str, ...] = ("",),
    **more: tuple[str, ...],
) -> Attribute:
    section, field = place.split("/", 1)
    return Attribute(name, "text", section, field, subfields, nouns, keyword, rivals=more.get("rivals", ()))


def _number(
    name: str, place: str, nouns: tuple[str, ...], keyword: str, subfields: tuple[str, ...] = ("",), unit: str = ""
) -> Attribute:
    section, field = place.split("/", 1)
    return Attribute(name, "number", section, field, subfields, nouns, keyword, unit)


TEXT_ATTRIBUTES: tuple[Attribute, ...] = (
    _text("capital", "Government/Capital", ("the capital of {c}", "the capital city of {c}"), "capital", ("name",)),
    _text(
        "currency",
        "Economy/Exchange rates",
        ("the currency of {c}", "the money used in {c}"),
        "currency",
        ("Currency",),
    ),
    _text(
        "language",
        "People and Society/Languages",
        ("an official language of {c}", "one official language of {c}"),
        "languages official",
        ("Languages", ""),
    ),
    _text(
        "region",
        "Geography/Map references",
        ("the continent or world region of {c}", "the part of the world of {c}"),
        "continent region",
        rivals=_PARTS,
    ),
    _text(
        "nationality",
        "People and Society/Nationality",
        ("the adjective for people from {c}", "the nationality adjective of {c}"),
        "nationality adjective",
        ("adjective",),
    ),
    _text(
        "government",
        "Government/Government type",
        ("the government type of {c}", "the form of government of {c}"),
        "government type",
    ),
    _text(
        "internet_code",
        "Communications/Internet country code",
        ("the internet country code of {c}", "the web domain ending of {c}"),
        "internet country code",
    ),
    _text(
        "religion",
        "People and Society/Religions",
        ("the main religion of {c}", "the religion of most people in {c}"),
        "religions",
    ),
    _text(
        "highest_point",
        "Geography/Elevation",
        ("the highest point of {c}", "the highest place in {c}"),
        "highest point",
        ("highest point",),
    ),
    _text(
        "independence",
        "Government/Independence",
        ("the year of independence of {c}", "the year in which {c} became independent"),
        "independence",
    ),
    _text(
        "anthem",
        "Government/National anthem(s)",
        ("the national anthem of {c}", "the title of the national anthem of {c}"),
        "national anthem title",
        ("title",),
    ),
    _text(
        "legislature",
        "Government/Legislative branch",
        ("the legislature of {c}", "the name of the parliament of {c}"),
        "legislature",
        ("legislature name",),
    ),
    _text(
        "aircraft_prefix",
        "Transportation/Civil aircraft registration country code prefix",
        ("the civil aircraft registration prefix of {c}", "the aircraft code prefix of {c}"),
        "aircraft registration prefix",
    ),
)

NUMBER_ATTRIBUTES: tuple[Attribute, ...] = (
    _number(
        "population",
        "People and Society/Population",
        ("the population of {c}", "the total population of {c}", "the number of people living in {c}"),
        "total population",
        ("total",),
    ),
    _number("area", "Geography/Area", ("the area of {c}", "the total area of {c}"), "total area", ("total",), "sq km"),
    _number(
        "coastline",
        "Geography/Coastline",
        ("the coastline length of {c}", "the length of the coastline of {c}"),
        "coastline",
        unit="km",
    ),
    _number(
        "land_boundaries",
        "Geography/Land boundaries",
        ("the total length of the land boundaries of {c}", "the land border length of {c}"),
        "land boundaries total",
        ("total",),
        "km",
    ),
    _number(
        "highest_elevation",
        "Geography/Elevation",
        ("the elevation of the highest point of {c}", "the height of the highest point of {c}"),
        "highest point elevation",
        ("highest point",),
        "m",
    ),
    _number(
        "mean_elevation",
        "Geography/Elevation",
        ("the mean elevation of {c}", "the average elevation of {c}"),
        "mean elevation",
        ("mean elevation",),
        "m",
    ),
    _number(
        "median_age",
        "People and Society/Median age",
        ("the median age of {c}", "the median age of the people of {c}"),
        "median age",
        ("total",),
        "years",
    ),
    _number(
        "life_expectancy",
        "People and Society/Life expectancy at birth",
        ("the life expectancy at birth in {c}", "the life expectancy of {c}"),
        "life expectancy",
        ("total population",),
        "years",
    ),
    _number(
        "fertility",
        "People and Society/Total fertility rate",
        ("the total fertility rate of {c}", "the fertility rate in {c}"),
        "fertility rate",
        unit="children born per woman",
    ),
    _number(
        "birth_rate",
        "People and Society/Birth rate",
        ("the birth rate of {c}", "the number of births per 1,000 people in {c}"),
        "birth rate births",
        unit="births per 1,000 people",
    ),
    _number(
        "death_rate",
        "People and Society/Death rate",
        ("the death rate of {c}", "the number of deaths per 1,000 people in {c}"),
        "death rate deaths",
        unit="deaths per 1,000 people",
    ),
    _number(
        "infant_mortality",
        "People and Society/Infant mortality rate",
        ("the infant mortality rate of {c}", "the total infant mortality rate in {c}"),
        "infant mortality rate",
        ("total",),
        "deaths per 1,000 live births",
    ),
    _number(
        "urban_share",
        "People and Society/Urbanization",
        ("the urban share of the population of {c}", "the percentage of people in {c} who live in cities"),
        "urban population urbanization",
        ("urban population",),
        "%",
    ),
    _number(
        "literacy",
        "People and Society/Literacy",
        ("the literacy rate of {c}", "the total literacy rate in {c}"),
        "literacy",
        ("total population",),
        "%",
    ),
    _number(
        "gdp_per_capita",
        "Economy/Real GDP per capita",
        ("the real GDP per capita of {c}", "the GDP per person of {c}"),
        "GDP per capita",
        ("Real GDP per capita 2024", "Real GDP per capita 2023"),
    ),
    _number(
        "unemployment",
        "Economy/Unemployment rate",
        ("the unemployment rate of {c}", "the share of jobless workers in {c}"),
        "unemployment rate",
        ("Unemployment rate 2024",),
        "%",
    ),
    _number(
        "internet_users",
        "Communications/Internet users",
        ("the percentage of internet users in {c}", "the share of people in {c} who use the internet"),
        "internet users",
        ("percent of population",),
        "%",
    ),
    _number(
        "airports",
        "Transportation/Airports",
        ("the number of airports in {c}", "the number of airports of {c}"),
        "airports",
    ),
)

ATTRIBUTES: tuple[Attribute, ...] = TEXT_ATTRIBUTES + NUMBER_ATTRIBUTES
BY_NAME = {attribute.name: attribute for attribute in ATTRIBUTES}
