"""Encoding of people's turns: the tokens are the rendered text, and only free tokens are marked as written."""

from __future__ import annotations

import pytest
from doubles import make_problem
from tiny_models import SPECS, chat, grammars, specs_of, tiny_policy, tokenizer, told, written_call

from components.policy.encode import encode_answer, encode_trajectory, opening_length
from components.policy.turn import GenerateRequest
from components.schema.trajectory import ANSWER
from components.tools.grammar import opening, parse_turn, render_call

ARGUMENTS = (
    "capital Chad",
    "(3+4)*2",
    '-5 + "x"',
    "12",
    "  two spaces",
    "",
    "é中文",
    "a\nb\tc",
    "x }}",
    "</tool_call>",
)


@pytest.mark.parametrize("argument", ARGUMENTS)
@pytest.mark.parametrize("tool", list(SPECS))
def test_the_tokens_of_a_call_decode_to_the_rendered_call(tool: str, argument: str) -> None:
    action = written_call(tool, argument)
    assert action.call is not None
    assert chat().decode(action.message.token_ids or ()) == render_call(action.call)
    assert parse_turn(chat().decode(action.message.token_ids or ()), specs_of([tool])).call == action.call


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_only_the_tokens_of_the_argument_are_written(argument: str) -> None:
    action = written_call("python", argument)
    ids = action.message.token_ids or ()
    assert len(action.written) == len(ids)
    first, last = action.written.index(True), len(ids) - 1 - action.written[::-1].index(True)
    assert all(action.written[first : last + 1]), "free tokens are one stretch"
    assert chat().decode(ids[:first]) == f'{opening("python")}", "arguments": {{"code":'
    assert chat().decode(ids[last + 1 :]) == "}}</tool_call>"


def test_the_opening_ends_with_the_tools_name() -> None:
    for name in SPECS:
        action = written_call(name, "x")
        length = opening_length(chat(), action)
        assert chat().decode((action.message.token_ids or ())[:length]) == opening(name)
    assert opening_length(chat(), encode_answer(chat(), "Yes.")) == 0


def test_an_answer_ends_with_the_end_marker_and_is_written_as_a_whole() -> None:
    action = encode_answer(chat(), "It is N'Djamena.")
    ids = action.message.token_ids or ()
    assert tokenizer().decode(list(ids)) == "It is N'Djamena.<|im_end|>"
    assert (action.decision, action.written) == (ANSWER, (True,) * len(ids))


def test_what_a_policy_generated_has_the_mask_that_a_person_would_get() -> None:
    policy = tiny_policy()
    for name in SPECS:
        specs = specs_of([name])
        request = GenerateRequest(chat().prompt_ids("Go.", specs), specs, decision=name)
        (action,) = policy.generate([request])
        assert action.call is not None
        again = written_call(name, next(iter(action.call.arguments.values())))
        assert again.message.token_ids == action.message.token_ids
        assert again.written == action.written


def test_turns_that_have_tokens_keep_them() -> None:
    trajectory = told(make_problem(), [("search", "capital Chad", "Capital: N'Djamena")], "It is N'Djamena.")
    assert encode_trajectory(chat(), grammars(), trajectory, specs_of(["search"])) == trajectory


def test_a_result_is_cut_to_whole_tokens() -> None:
    assert chat().cut("one two three four", 2) == "one two"
    assert chat().cut("one two", 5) == "one two"
