"""Conversations as clients send them become what the policy reads; what is none is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter
from tiny_models import chat

from components.schema.message import Message
from components.serving.errors import Refused
from components.serving.history import turns_of
from components.serving.scrub import scrub
from components.serving.wire import ChatMessage
from components.serving.words import Words
from components.tools.grammar import parse_turn
from components.tools.spec import KNOWN_SPECS

MESSAGES: TypeAdapter[Any] = TypeAdapter(tuple[ChatMessage, ...])


def _turns(*messages: dict[str, Any]) -> tuple[Message, ...]:
    return turns_of(MESSAGES.validate_python(messages), chat())


def _user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def _calls(*made: tuple[str, str]) -> dict[str, Any]:
    calls = [{"id": key, "type": "function", "function": {"name": "search", "arguments": args}} for key, args in made]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def test_what_the_operator_says_goes_before_the_question() -> None:
    turns = _turns({"role": "system", "content": "Be brief."}, _user([{"type": "text", "text": "Who?"}]))
    assert turns == (Message("user", "Be brief.\nWho?"),)


def test_turns_of_several_speakers_are_read_in_their_order() -> None:
    turns = _turns(_user("Who?"), {"role": "assistant", "content": "Me."}, _user("Why?"))
    assert [(turn.role, turn.content) for turn in turns] == [("user", "Who?"), ("assistant", "Me."), ("user", "Why?")]
    assert turns[1].token_ids == (*chat().encode("Me."), chat().end_id)


def test_calls_of_one_turn_are_told_one_after_another_each_with_its_result() -> None:
    results = [{"role": "tool", "tool_call_id": key, "content": f"result {key}"} for key in ("b", "a")]
    turns = _turns(_user("?"), _calls(("a", '{"query": "x"}'), ("b", '{"query": "y"}')), *results)
    assert [turn.role for turn in turns] == ["user", "assistant", "tool", "assistant", "tool"]
    assert [turn.content for turn in turns if turn.role == "tool"] == ["result b", "result a"]
    call = turns[1]
    assert parse_turn(call.content, KNOWN_SPECS).call is not None
    assert chat().decode(call.token_ids or ()) == call.content, "the tokens spell the call"


def test_a_user_who_speaks_on_after_a_result_is_heard_as_a_turn_of_their_own() -> None:
    turns = _turns(
        _user("?"), _calls(("a", "{}")), {"role": "tool", "tool_call_id": "a", "content": "r"}, _user("and?")
    )
    assert [turn.role for turn in turns] == ["user", "assistant", "tool", "assistant", "user"]


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        (({"role": "system", "content": "x"},), "must be of the user"),
        ((_user("?"), {"role": "assistant", "content": "x"}), "last message"),
        ((_user("?"), _calls(("a", "{}"))), "last message"),
        ((_user("?"), _calls(("a", "{}")), _user("!")), "has no result"),
        ((_user("?"), _calls(("a", "{")), {"role": "tool", "tool_call_id": "a", "content": ""}), "not a JSON object"),
        ((_user("?"), {"role": "tool", "tool_call_id": "z", "content": ""}), "waits for a result"),
    ],
)
def test_what_is_no_conversation_is_refused_in_words(messages: tuple[dict[str, Any], ...], words: str) -> None:
    with pytest.raises(Refused, match=words) as refused:
        _turns(*messages)
    assert refused.value.status == 400


def test_words_appear_once_they_cannot_change_any_more() -> None:
    text = "  Die Öse: 🙂 heißt  so.  "
    words, shown = Words(chat()), []
    for token in chat().encode(text):
        shown.append(words.more([token]))
        assert "\ufffd" not in shown[-1]
    shown.append(words.rest(text.strip()))
    assert "".join(shown) == text.strip()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("mail ann.lee+x@mail.example.org now", "mail <email> now"),
        ("call +49 (30) 123-4567 or 0301234567", "call <phone> or <phone>"),
        ("card 4111 1111 1111 1111.", "card <card>."),
        ("DE89 3704 0044 0532 0130 00", "<iban>"),
        ("from 10.20.30.40", "from <ip>"),
        ("key sk-abcdefghijklmnop1234", "key <secret>"),
        ("In 1960, 18,523,165 people; 12 06 N; 3.14159; 2+2=4", "In 1960, 18,523,165 people; 12 06 N; 3.14159; 2+2=4"),
    ],
)
def test_personal_data_that_has_a_form_is_taken_out_and_ordinary_numbers_are_left(text: str, kept: str) -> None:
    assert scrub(text) == kept
