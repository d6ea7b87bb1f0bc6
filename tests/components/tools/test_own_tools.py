"""Own tools beside the others: off unless listed, priced, and with names that can be told apart."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import own_functions
import pytest
from doubles import PASSAGES, cut_words
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import tokenizer

from components.schema.message import ToolCall
from components.tools.function_tool import BadTool
from components.tools.names import check_names
from components.tools.open_toolbox import open_toolbox
from components.tools.own_tools import Surroundings
from components.tools.prices import PriceSheet
from components.tools.settings import PriceSettings, ToolPrice, ToolSettings
from components.tools.toolbox import Toolbox

HERE = Path(own_functions.__file__).parent
MODULE = own_functions.__name__
FUNCTION = {"name": "weather", "description": "Gives the weather.", "parameters": {"type": "object"}}
PRICE = ToolPrice(money=0.5, seconds=0.1)


def opened(prices: dict[str, ToolPrice], secrets: dict[str, str] | None = None, **own: Any) -> Toolbox:
    settings = ToolSettings.model_validate({"own": own, "timeouts": {"sleepy": 0.1}})
    sheet = PriceSheet(PriceSettings(tools={**PriceSettings().tools, **prices}))
    around = Surroundings(HERE, secrets or {})
    return open_toolbox(settings, sheet, PASSAGES, cut=cut_words, clock=time.monotonic, surroundings=around)


def test_nothing_is_open_that_is_not_listed() -> None:
    box = opened({})
    assert [spec.name for spec in box.specs()] == ["search", "python"]
    box.close()


def test_a_listed_function_is_called_charged_and_remembered_like_any_tool() -> None:
    box = opened({"convert": PRICE}, functions=[f"{MODULE}:convert"])
    assert [spec.name for spec in box.specs()] == ["search", "python", "convert"]
    call = ToolCall("convert", {"kilometres": 10})
    results = [*box.call_many([call, ToolCall("convert", {"kilometres": "far"})]), box.submit(call).result(5)]
    assert [result.content for result in results][::2] == ["6.2", "6.2"]
    assert [result.is_error for result in results] == [False, True, False]
    assert {result.cost.money for result in results} == {0.5}
    box.close()


def test_a_function_that_takes_too_long_is_given_up() -> None:
    box = opened({"sleepy": PRICE}, functions=[f"{MODULE}:sleepy"])
    late = box.call(ToolCall("sleepy", {"seconds": 0.5}))
    assert (late.content, late.is_error) == ("TimeoutError: sleepy gave no answer within 0.1 s.", True)
    box.close()


def test_a_tool_without_a_price_is_named() -> None:
    with pytest.raises(BadTool, match=r"prices\.tools has no entry for 'convert': .* convert: \{money: 0"):
        opened({}, functions=[f"{MODULE}:convert"])


def test_two_names_of_which_one_begins_the_other_are_named() -> None:
    with pytest.raises(BadTool, match="the tool name 'search' begins the tool name 'search_web'"):
        opened({"search_web": PRICE}, functions=[f"{MODULE}:clash"])


def test_one_name_for_two_tools_is_named() -> None:
    with pytest.raises(BadTool, match="two tools have the name 'convert'"):
        opened({"convert": PRICE}, functions=[f"{MODULE}:convert", f"{MODULE}:convert"])


def test_a_secret_that_is_not_set_is_named_and_not_guessed() -> None:
    service = {"function": FUNCTION, "url": "https://api.example/", "headers": {"Authorization": "Bearer ${MY_KEY}"}}
    with pytest.raises(BadTool, match="names the environment variable MY_KEY, which is not set"):
        opened({"weather": PRICE}, http=[service])
    box = opened({"weather": PRICE}, {"MY_KEY": "abc"}, http=[service])
    assert [spec.name for spec in box.specs()][2:] == ["weather"]
    box.close()


def test_what_cannot_be_opened_is_told_with_its_place() -> None:
    with pytest.raises(BadTool, match=r"tools\.own\.mcp\.files: Error: the server cannot be reached"):
        opened({"convert": PRICE}, functions=[f"{MODULE}:convert"], mcp={"files": {"command": "/no/such/program"}})


names = st.text("abcdefgs_-", min_size=1, max_size=8)


@given(st.lists(names, min_size=2, max_size=5, unique=True))
def test_names_that_pass_begin_no_other_as_tokens_either(some: list[str]) -> None:
    try:
        check_names(some)
    except BadTool:
        return
    ids = [tuple(tokenizer()(name, add_special_tokens=False).input_ids) for name in some]
    assert not any(a != b and b[: len(a)] == a for a in ids for b in ids)
