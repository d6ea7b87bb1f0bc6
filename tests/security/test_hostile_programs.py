"""Hostile programs against the real sandboxes: none gets out, none outlives its limit, and the tool goes on working."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from doubles import cut_words
from security.hostile import CANARY, CATEGORIES, VARIABLE, Traps, children, programs, set_traps

from components.tools.bubblewrap_proof import why_not_proven
from components.tools.python_bubblewrap import open_python
from components.tools.python_monty import PythonTool
from components.tools.settings import PythonLimits
from components.tools.spec import Tool

LIMITS = PythonLimits(seconds=0.15, processes=1, result_tokens=4096)
LONGEST = LIMITS.seconds + 8.0
"""Seconds within which a call must come back on a busy machine: its limit, the grace, a new worker."""
FAILING = {"fork", "import", "network"}
"""Kinds whose programs may do nothing but fail: each of them asks for something that no snippet has."""
WHOLE_PYTHON = ("file", "network")
"""Kinds of which every fourth is run under bubblewrap too, a third of a second each; forks are for the canary."""


@pytest.fixture
def traps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Traps]:
    monkeypatch.setenv(VARIABLE, CANARY)
    made = set_traps(tmp_path)
    yield made
    made.server.close()


def test_the_corpus_has_at_least_two_hundred_different_programs() -> None:
    everything = [program for category in CATEGORIES for program in programs(category)]
    assert len(set(everything)) == len(everything) >= 200
    wanted = {"escape", "loop", "allocate", "fork", "import", "file", "network", "introspection"}
    assert set(CATEGORIES) == wanted


@pytest.mark.parametrize("category", CATEGORIES)
def test_no_hostile_program_escapes_or_hangs_in_monty(category: str, traps: Traps) -> None:
    tool = PythonTool(LIMITS, cut=cut_words)
    assert tool.call({"code": "6 * 7"}).content == "42"
    before = children()
    _assert_harmless(tool, [traps.filled(program) for program in programs(category)], traps)
    assert len(children()) <= len(before) + 1  # a worker that was replaced may not be gone yet
    assert tool.call({"code": "6 * 7"}).content == "42"
    tool.close()


@pytest.mark.parametrize("category", WHOLE_PYTHON)
def test_no_hostile_program_escapes_or_hangs_in_bubblewrap(category: str, traps: Traps) -> None:
    fault = why_not_proven()
    if fault is not None:
        pytest.skip(f"bubblewrap does not hold here: {fault}")
    limits = PythonLimits(tier="bubblewrap", seconds=1.0, result_tokens=4096)
    tool = open_python(limits, cut=cut_words)
    _assert_harmless(tool, [traps.filled(program) for program in programs(category)[::4]], traps)


@pytest.mark.parametrize("category", sorted(FAILING))
def test_programs_that_ask_for_what_no_snippet_has_fail(category: str, traps: Traps) -> None:
    tool = PythonTool(LIMITS, cut=cut_words)
    answered = [program for program in programs(category) if not tool.call({"code": traps.filled(program)}).is_error]
    assert answered == []
    tool.close()


def _assert_harmless(tool: Tool, sources: list[str], traps: Traps) -> None:
    for source in sources:
        began = time.monotonic()
        output = tool.call({"code": source})
        seconds = time.monotonic() - began
        assert CANARY not in output.content, source
        assert traps.sprung() == [], source
        assert seconds < LONGEST, source
        assert len(output.content.encode()) <= 4 * LIMITS.output_bytes, source
