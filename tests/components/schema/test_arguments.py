"""Arguments are checked against the tool's JSON schema, in words."""

from components.schema.arguments import check_arguments
from components.schema.tool import ToolSpec

BOOK = ToolSpec(
    "book",
    "Books a table.",
    {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "guests": {"type": "integer", "minimum": 1},
            "days": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["name"],
        "additionalProperties": False,
    },
)


def test_fine_arguments_have_no_complaints() -> None:
    assert check_arguments(BOOK, {"name": "a", "guests": 2, "days": ["x"]}) == ()


def test_every_complaint_names_its_field() -> None:
    found = check_arguments(BOOK, {"guests": "2", "days": ["x", 3], "colour": None})
    assert [(c.field, c.reason) for c in found] == [
        ("colour", "is not an argument of book(name, guests, days)"),
        ("days[1]", "must be text, is number"),
        ("guests", "must be a whole number, is text"),
        ("name", "is missing"),
    ]


def test_other_rules_of_the_schema_count_too() -> None:
    assert "minimum" in check_arguments(BOOK, {"name": "a", "guests": 0})[0].reason


def test_half_a_character_is_no_text() -> None:
    assert "surrogate" in check_arguments(BOOK, {"name": "\ud800"})[0].reason
