"""Any text is a call, an answer or an error; calls survive writing and reading."""

import pytest
from doubles import FakeToolbox
from hypothesis import given, settings
from hypothesis import strategies as st

from components.schema.message import ToolCall
from components.tools.grammar import (
    ARGUMENTS_OPENING,
    CALL_CLOSING,
    opening,
    parse_turn,
    render_arguments,
    render_call,
    tool_turn,
    user_turn,
)
from components.tools.prices import PriceSheet
from components.tools.spec import KNOWN_SPECS

CALL = '<tool_call>{"name": "search", "arguments": {"query": "capital Chad"}}</tool_call>'
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
pieces = st.lists(
    st.sampled_from(
        ["<tool_call>", "</tool_call>", '{"name": "', "search", '", "arguments": ', "{", "}", '"query"', ": "]
    )
    | any_text,
    max_size=12,
).map("".join)


def test_a_call_is_written_in_the_agreed_form() -> None:
    call = ToolCall("search", {"query": "capital Chad"})
    assert render_call(call) == CALL
    assert opening("search") + ARGUMENTS_OPENING + render_arguments(call.arguments) + CALL_CLOSING == CALL
    assert parse_turn(f" {CALL}\n", KNOWN_SPECS).call == call


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([("search", "query"), ("python", "code")]), any_text)
def test_any_argument_survives_writing_and_reading(tool: tuple[str, str], text: str) -> None:
    call = ToolCall(tool[0], {tool[1]: text})
    assert parse_turn(render_call(call), KNOWN_SPECS).call == call


@settings(max_examples=300, deadline=None)
@given(pieces)
def test_any_text_parses_to_exactly_one_thing(text: str) -> None:
    turn = parse_turn(text, KNOWN_SPECS)
    assert [turn.call is None, turn.answer is None, turn.error is None].count(False) == 1


@pytest.mark.parametrize(
    "text", ["N'Djamena.", "Use <b>bold</b> {not json}", '{"name": "search", "arguments": {}}', "", " "]
)
def test_text_without_tags_is_an_answer(text: str) -> None:
    assert parse_turn(text, KNOWN_SPECS).answer == text.strip()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<tool_call>", "not JSON"),
        (CALL[:-3], "must end with </tool_call>"),
        (CALL[:-12], "must end with </tool_call>"),
        (CALL[:-13], "not JSON"),
        (CALL + " Bye.", "it goes on with"),
        (CALL + CALL, "it goes on with"),
        ("Let me see. " + CALL, "the answer contains <tool_call>"),
        ("</tool_call>", "the answer contains </tool_call>"),
        ("<tool_call>search</tool_call>", "not JSON"),
        ("<tool_call>[]</tool_call>", "must be {"),
        ('<tool_call>{"name": "search"}</tool_call>', "must be {"),
        (CALL.replace('"name"', '"id": 1, "name"'), "must be {"),
        (CALL.replace('"search"', "null"), "there is no tool None"),
        (CALL.replace('"search"', '"browse"'), "there is no tool 'browse'"),
        (CALL.replace('{"query": "capital Chad"}', '"Chad"'), "must be an object"),
        (CALL.replace('"capital Chad"', "3"), "arguments.query: must be text, is number"),
        (CALL.replace('"capital Chad"', "NaN"), "NaN is not JSON"),
        (CALL.replace('"capital Chad"', "9" * 5000), "not JSON that can be read"),
        (CALL.replace('"capital Chad"', "[" * 100_000), "not JSON that can be read"),
        (CALL.replace("capital", "\\ud800"), "surrogate"),
        (CALL.replace('"capital Chad"', "1e999"), "infinite"),
        *((CALL.replace('"capital Chad"', "[" * deep + "]" * deep), "") for deep in (200, 700, 850, 900, 950, 990)),
        (CALL.replace("query", "q"), "arguments.q: is not an argument of search(query)"),
    ],
)
def test_a_broken_call_is_an_error_in_words(text: str, reason: str) -> None:
    turn = parse_turn(text, KNOWN_SPECS)
    assert turn.error is not None
    assert reason in turn.error


def test_only_tools_on_offer_can_be_called() -> None:
    assert parse_turn(CALL, KNOWN_SPECS[1:]).error == "there is no tool 'search'"


def test_braces_and_quotes_inside_arguments_are_text() -> None:
    code = 'd = {"a": "}</tool_call>"}\nlen(d["a"]) # "é" \\ '
    assert parse_turn(render_call(ToolCall("python", {"code": code})), KNOWN_SPECS).call is not None


def test_turns_that_the_model_reads() -> None:
    assert user_turn("Hello?", KNOWN_SPECS) == "Tools: search(query), python(code).\nHello?"
    assert user_turn("Hello?", ()) == "Hello?"
    result = FakeToolbox(default="found").call(ToolCall("search", {"query": "x"}))
    assert tool_turn(result) == tool_turn("found") == "<tool_response>\nfound\n</tool_response>"
    assert result.cost == PriceSheet().charge("search")
