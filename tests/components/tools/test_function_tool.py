"""A typed function is a tool: its schema, its arguments, its failures."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from doubles import cut_words
from pydantic import BaseModel, Field
from tiny_models import grammars

from components.schema.message import ToolCall
from components.tools.function_loading import load_function
from components.tools.function_tool import BadTool, FunctionTool, tool
from components.tools.prices import PriceSheet
from components.tools.toolbox import Toolbox


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Point(BaseModel):
    x: float
    y: float = 0.0


@tool
def move(
    point: Point,
    by: Annotated[float, Field(gt=0)] = 1.0,
    unit: Literal["km", "mi"] = "km",
    colour: Colour = Colour.RED,
    then: Point | None = None,
) -> dict[str, Any]:
    """Moves a point.

    It is moved along x.

    Args:
        point: where it is
        by (float): how far
    """
    return {"x": point.x + by, "unit": unit, "colour": colour, "then": then}


@tool(name="later", version="2")
async def wait_for(seconds: float) -> str:
    """Waits."""
    await asyncio.sleep(seconds)
    return "done"


@tool
def fail(how: str) -> str:
    """Fails in many ways."""
    if how == "exit":
        raise SystemExit(3)
    if how == "unprintable":
        raise Unprintable
    raise RuntimeError(f"{how} is wrong\nand a second line with /srv/secrets")


class Unprintable(Exception):  # noqa: N818 - its name is what the test reads
    def __str__(self) -> str:
        raise ValueError("no words")


def plain(text: str) -> str:
    """Not a tool."""
    return text


def made(function: Callable[..., Any]) -> FunctionTool:
    return FunctionTool(function, cut=cut_words, result_tokens=12, seconds=lambda name: 0.1)


def test_the_schema_comes_from_the_signature_and_the_docstring() -> None:
    spec = made(move).spec
    assert (spec.name, spec.description) == ("move", "Moves a point.")
    assert spec.signature() == "move(point, by, unit, colour, then)"
    properties = spec.parameters["properties"]
    assert spec.parameters["required"] == ["point"]
    assert spec.parameters["additionalProperties"] is False
    assert properties["by"] == {"default": 1.0, "description": "how far", "exclusiveMinimum": 0, "type": "number"}
    assert properties["unit"]["enum"] == ["km", "mi"]
    assert properties["point"]["description"] == "where it is"
    assert "title" not in str(spec.parameters)


def test_the_function_gets_the_types_it_asks_for() -> None:
    output = made(move).call({"point": {"x": 1}, "then": {"x": 2, "y": 3}, "colour": "blue"})
    assert output.content == '{"x":2.0,"unit":"km","colour":"blue","then":{"x":2.0,"y":3.0}}'
    assert not output.is_error


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"point": {"x": "far"}},
        {"point": {"x": 1}, "by": -1},
        {"point": {"x": 1}, "unit": "ly"},
        {"point": {"x": 1}, "colour": "green"},
        {"point": {"x": 1, "z": []}, "more": 1},
        {"point": None},
    ],
)
def test_wrong_arguments_are_a_result_with_or_without_the_toolbox(arguments: dict[str, Any]) -> None:
    box = Toolbox([made(move)], PriceSheet(), time.monotonic)
    assert made(move).call(arguments).is_error
    assert box.call_many([ToolCall("move", arguments)])[0].is_error
    box.close()


@pytest.mark.parametrize(
    ("how", "content"),
    [
        ("this", "RuntimeError: this is wrong"),
        ("exit", "Error: the tool ended itself"),
        ("unprintable", "Unprintable"),
    ],
)
def test_a_failure_is_one_line_without_a_stack_trace(how: str, content: str) -> None:
    output = made(fail).call({"how": how})
    assert (output.content, output.is_error, output.cacheable) == (content, True, False)


def test_an_async_function_is_awaited_and_cancelled_in_time() -> None:
    later = made(wait_for)
    assert later.spec.name == "later"
    assert later.call({"seconds": 0.0}).content == "done"
    assert later.call({"seconds": 60.0}).content == "TimeoutError"


def test_results_are_cut_to_their_budget() -> None:
    @tool
    def talk(words: int) -> str:
        """Talks."""
        return "word " * words

    assert len(made(talk).call({"words": 99}).content.split()) == 12


def test_the_grammar_of_calls_takes_the_schema() -> None:
    assert grammars().matcher(made(move).spec).opening()


def untyped(text) -> str:  # type: ignore[no-untyped-def]
    """Has no type."""
    return str(text)


def positional(text: str, /) -> str:
    """Cannot be called by name."""
    return text


def many(*texts: str) -> str:
    """Takes many."""
    return "".join(texts)


def silent(text: str) -> str:
    return text


def odd(when: Callable[[], int]) -> str:
    """Takes what JSON cannot say."""
    return str(when)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (plain, "is not a tool: put @tool above it"),
        (tool(untyped), "argument text needs a type"),
        (tool(positional), "argument text must be one that can be given by name"),
        (tool(many), "argument texts must be one that can be given by name"),
        (tool(silent), "needs a docstring"),
        (tool(odd), "have no JSON schema"),
    ],
)
def test_a_function_that_cannot_be_a_tool_is_named(function: Callable[..., Any], words: str) -> None:
    with pytest.raises(BadTool, match=rf"test_function_tool:\w+.*{words}"):
        made(function)


# --- finding functions ------------------------------------------------------------------------------------------------

MODULE = '''
"""A module of the user."""
from pathlib import Path
from components.tools.function_tool import tool
Path(__file__).with_name("imported").touch()

@tool
def double(number: int) -> int:
    """Doubles a number."""
    return 2 * number
'''


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A project's folder with own functions, importable as `mine`."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "__init__.py").write_text("")
    (mine / "numbers.py").write_text(MODULE)
    (mine / "broken.py").write_text("1 / 0")
    sys.path.append(str(tmp_path))
    yield mine
    sys.path.remove(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]


def test_a_function_of_the_projects_folder_is_found(folder: Path) -> None:
    found = made(load_function("mine.numbers:double", folder=folder, packages=()))
    assert found.call({"number": 4}).content == "8"


def test_another_text_of_the_module_is_another_version(folder: Path) -> None:
    before = made(load_function("mine.numbers:double", folder=folder, packages=())).version
    (folder / "numbers.py").write_text(MODULE.replace("2 * number", "number + number"))
    import linecache

    linecache.checkcache()
    assert made(load_function("mine.numbers:double", folder=folder, packages=())).version != before


def test_what_was_not_named_is_refused_and_not_imported(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadTool, match=r"mine is not in the folder own/ and not named in tools\.own\.packages"):
        load_function("mine.numbers:double", folder=tmp_path / "own", packages=())
    assert not (folder / "imported").exists()
    assert "mine" not in sys.modules


@pytest.mark.parametrize("name", ["os:system", "subprocess:run", "builtins:eval", "shutil:rmtree", "flows.cli:main"])
def test_the_rest_of_python_is_not_a_tool(name: str, folder: Path) -> None:
    with pytest.raises(BadTool, match="is not in the folder mine/"):
        load_function(name, folder=folder, packages=())
    with pytest.raises(BadTool, match="is not a tool"):
        made(load_function(name, folder=folder, packages=(name.partition(":")[0].partition(".")[0],)))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mine.numbers:triple", "mine.numbers has no function triple"),
        ("mine.broken:x", "importing it failed: ZeroDivisionError"),
        ("mine.nowhere:x", "importing it failed: ModuleNotFoundError"),
        ("nowhere_at_all:x", "there is no module nowhere_at_all"),
    ],
)
def test_what_cannot_be_found_is_told(name: str, words: str, folder: Path) -> None:
    with pytest.raises(BadTool, match=words):
        load_function(name, folder=folder, packages=())
