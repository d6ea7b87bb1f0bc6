"""What containers run: every `qanat` command of the compose file and of the manifests is one that there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from flows.cli import app
from flows.shared.operations import load_operations
from flows.shared.paths import Paths

INFRA = Path(__file__).resolve().parents[2] / "infra"


def _lists(value: Any) -> Iterator[list[Any]]:
    """Every list inside a document."""
    if isinstance(value, list):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _lists(inner)


def _commands() -> Iterator[tuple[str, tuple[str, ...]]]:
    for file in sorted(INFRA.rglob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            for words in _lists(document):
                if words[0:1] == ["qanat"] and words[1:]:
                    yield file.name, tuple(map(str, words[1:]))


COMMANDS = sorted(set(_commands()))


def _parse(words: tuple[str, ...]) -> str:
    """The command that `qanat` itself reads in them, without running anything.

    Raises:
        click's UsageError: there is no such command or option.
    """
    group: Any = typer.main.get_command(app)
    name, command, left = group.resolve_command(group.make_context("qanat", list(words)), list(words))
    context = command.make_context(name, left)
    assert not context.args, "nothing is left over"
    return str(name)


@pytest.mark.parametrize(("file", "words"), COMMANDS)
def test_every_command_can_be_given(file: str, words: tuple[str, ...]) -> None:
    assert _parse(words) == words[0]


def test_commands_are_found() -> None:
    assert {words[0] for _, words in COMMANDS} == {"annotate", "serve", "stores"}


@pytest.mark.parametrize("words", [("annotat",), ("annotate", "--hots", "0.0.0.0")])
def test_a_command_that_there_is_not_is_told(words: tuple[str, ...]) -> None:
    with pytest.raises(Exception, match="No such") as told:
        _parse(words)
    assert type(told.value).__name__ in ("UsageError", "NoSuchOption", "NoSuchCommand")


def test_the_settings_of_the_server_s_image_are_valid(tmp_path: Path) -> None:
    """They take the place of infra/qanat.yaml there."""
    paths = Paths(tmp_path)
    paths.operations.parent.mkdir(parents=True)
    paths.operations.write_text((INFRA / "docker" / "qanat.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    assert load_operations(paths).serve.keys_variable
