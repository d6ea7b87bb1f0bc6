"""The bubblewrap tier: only where canaries could not get out, never weaker than asked for, the same words as monty."""

from __future__ import annotations

import pytest
from doubles import cut_words

from components.tools.bubblewrap import Run, run_under, sandbox_command, snippet_command
from components.tools.bubblewrap_proof import why_not_proven
from components.tools.function_tool import BadTool
from components.tools.open_toolbox import open_toolbox
from components.tools.prices import PriceSheet
from components.tools.python_bubblewrap import BubblewrapPythonTool, open_python
from components.tools.python_monty import PythonTool
from components.tools.settings import PythonLimits, ToolSettings

LIMITS = PythonLimits(tier="bubblewrap", seconds=1.0)
SHORT = PythonLimits(tier="bubblewrap", seconds=0.1)


@pytest.fixture(scope="module")
def tool() -> BubblewrapPythonTool:
    fault = why_not_proven()
    if fault is not None:
        pytest.skip(f"bubblewrap does not hold here: {fault}")
    return BubblewrapPythonTool(LIMITS, cut=cut_words)


def test_a_sandbox_that_is_not_proven_is_refused_and_no_other_takes_its_place() -> None:
    with pytest.raises(BadTool, match=r"tools\.python\.tier is bubblewrap, .*: it wrote a file; install bubblewrap"):
        open_python(LIMITS, cut=cut_words, prove=lambda: "it wrote a file")


def test_the_program_around_a_snippet_works_where_there_is_no_sandbox() -> None:
    interpreter, *options, flag, runner = snippet_command(LIMITS)
    assert flag == "-c"
    told = run_under([interpreter, *options, flag, runner], b"x = 6\nprint('six')\nx * 7", LIMITS)
    assert (told.status, told.output.split(), told.fault) == (0, ["six", "42"], "")
    told = run_under([interpreter, *options, flag, runner], b"1 / 0", LIMITS)
    assert (told.status, told.fault) == (1, "ZeroDivisionError: division by zero")


def test_the_default_tier_asks_for_no_proof() -> None:
    def never() -> str:
        raise AssertionError("monty needs no proof")

    assert isinstance(open_python(PythonLimits(), cut=cut_words, prove=never), PythonTool)


def test_the_tier_is_left_out_of_dumps_unless_it_was_chosen() -> None:
    assert "tier" not in PythonLimits().model_dump()
    assert PythonLimits(tier="bubblewrap").model_dump()["tier"] == "bubblewrap"


def test_a_toolbox_opens_the_tier_that_the_settings_name_or_says_what_to_do(tool: BubblewrapPythonTool) -> None:
    box = open_toolbox(ToolSettings(python=SHORT), PriceSheet(), [], cut=cut_words, clock=lambda: 0.0)
    assert isinstance(box._tools["python"], BubblewrapPythonTool)
    box.close()


@pytest.mark.parametrize(
    ("removed", "way"),
    [("--unshare-net", "reached a server"), ("--remount-ro", "wrote a file"), ("--nproc=1", "started")],
)
def test_the_canary_names_the_way_out_of_a_weaker_sandbox(tool: BubblewrapPythonTool, removed: str, way: str) -> None:
    def weaker(source: bytes, limits: PythonLimits) -> Run:
        return run_under(_without(sandbox_command(limits), removed), source, limits)

    assert way in str(why_not_proven(weaker))


def _without(command: list[str], removed: str) -> list[str]:
    """The command without one wall."""
    if removed == "--unshare-net" and removed not in command:  # as a user without rights
        return [
            *command[: command.index("--unshare-all") + 1],
            "--share-net",
            *command[command.index("--unshare-all") + 1 :],
        ]
    if removed == "--remount-ro":
        place = command.index("--remount-ro")
        return [*command[:place], "--chmod", "0777", "/", *command[place + 2 :]]
    return [word for word in command if word != removed]


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("12 * 7", "84"),
        ("print('a')\n2", "a\n2"),
        ("x = 1", "(no output)"),
        ("class A: pass\nclass B(A): pass\nissubclass(B, A)", "True"),
        ("import statistics\nlist(n for n in (statistics.mean([1, 3]),))", "[2]"),
    ],
)
def test_the_result_is_the_last_value_or_what_was_printed(tool: BubblewrapPythonTool, code: str, result: str) -> None:
    output = tool.call({"code": code})
    assert (output.content, output.is_error) == (result, False)


@pytest.mark.parametrize(
    ("code", "reason", "refused"),
    [
        ("[0] * 10**9", "MemoryError: too much memory or output", False),
        ("while True: print('a' * 1000)", "MemoryError: too much memory or output", False),
        ("1 / 0", "ZeroDivisionError: division by zero", False),
        ("'\ud800'", "SyntaxError: source code is not valid UTF-8 (contains lone surrogates)", False),
        ("import ctypes\nctypes.string_at(0)", "MemoryError: sandbox died", False),
        ("import os\nos._exit(0)", "(no output)", False),
        ("  ", "Error: the code is empty.", False),
        ("open('/etc/passwd')", "FileNotFoundError: [Errno 2] No such file or directory: '/etc/passwd'", True),
        ("open('/new', 'w')", "OSError: [Errno 30] Read-only file system: '/new'", True),
        ("import os\nos.fork()", "BlockingIOError: [Errno 11] Resource temporarily unavailable", True),
        ("import os\nos.setuid(0)", "PermissionError: [Errno 1] Operation not permitted", True),
    ],
)
def test_bad_code_is_a_result_and_what_was_denied_counts_as_refused(
    tool: BubblewrapPythonTool, code: str, reason: str, refused: bool
) -> None:
    output = tool.call({"code": code})
    assert (output.content, output.refused) == (reason, refused)


@pytest.mark.parametrize("loop", ["while True: pass", "import signal\nsignal.alarm(0)\nwhile True: pass"])
def test_a_loop_is_stopped_whatever_it_does_to_its_alarm(tool: BubblewrapPythonTool, loop: str) -> None:
    output = BubblewrapPythonTool(SHORT, cut=cut_words).call({"code": loop})
    assert output.content == "TimeoutError: stopped after 0.1 s"


def test_calls_share_nothing_and_the_same_code_gives_the_same_result(tool: BubblewrapPythonTool) -> None:
    code = "import random\nrandom.random(), hash('a'), 'seen' in globals()"
    tool.call({"code": "seen = 1"})
    assert tool.call({"code": code}) == tool.call({"code": code})
    assert tool.call({"code": code}).content.endswith("False)")
