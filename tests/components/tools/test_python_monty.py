"""Model-written Python runs in the real sandbox, and nothing it does is an exception here."""

from collections.abc import Iterator

import pytest
from doubles import cut_words

from components.tools.python_monty import PythonTool
from components.tools.settings import PythonLimits


@pytest.fixture(scope="module")
def tool() -> Iterator[PythonTool]:
    made = PythonTool(PythonLimits(seconds=0.3, processes=1), cut=cut_words)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("12 * 7", "84"),
        ("x = 3\nx + 1", "4"),
        ("print(5)", "5"),
        ("print('a')\n2", "a\n2"),
        ("'text'", "text"),
        ("import math\nmath.gcd(12, 18)", "6"),
        ("from datetime import date\n(date(2024, 3, 1) - date(2024, 2, 1)).days", "29"),
        ("x = 1", "(no output)"),
        ("[1, (2, 3)]", "[1, (2, 3)]"),
        ("1 / 4", "0.25"),
    ],
)
def test_the_result_is_the_last_value_or_what_was_printed(tool: PythonTool, code: str, result: str) -> None:
    output = tool.call({"code": code})
    assert (output.content, output.is_error) == (result, False)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("while True: pass", "TimeoutError: stopped after 0.3 s"),
        ("try:\n  while True: pass\nexcept BaseException: pass", "TimeoutError: stopped after 0.3 s"),
        ("[0] * 10**9", "MemoryError: too much memory or output"),
        ("x = []\nwhile True: x.append('a' * 1000)", "MemoryError: too much memory or output"),
        ("x = 2\nfor i in range(60): x = x * x", "MemoryError: too much memory or output"),
        ("while True: print('a' * 1000)", "MemoryError: too much memory or output"),
        ("import numpy", "ModuleNotFoundError: No module named 'numpy'"),
        ("import subprocess", "ModuleNotFoundError: No module named 'subprocess'"),
        ("open('/etc/passwd').read()", "PermissionError: Permission denied: '/etc/passwd'"),
        ("import os\nos.listdir('/')", "PermissionError: Permission denied: '/'"),
        ("def f(n): return f(n + 1)\nf(0)", "RecursionError: maximum recursion depth exceeded"),
        ("1 +", "SyntaxError: Expected an expression"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("unknown", "NameError: name 'unknown' is not defined"),
        ("10**10000", "ValueError: the result is too large to show"),
        ("'\ud800'", "SyntaxError: source code is not valid UTF-8 (contains lone surrogates)"),
        ("  ", "Error: the code is empty."),
    ],
)
def test_bad_code_is_a_result_with_a_short_reason(tool: PythonTool, code: str, reason: str) -> None:
    output = tool.call({"code": code})
    assert (output.content, output.is_error) == (reason, True)
    assert tool.call({"code": "1 + 1"}).content == "2"


def test_a_result_is_cut_to_its_budget(tool: PythonTool) -> None:
    content = tool.call({"code": "print(*range(1000))"}).content
    assert content == " ".join(str(number) for number in range(32))


@pytest.mark.parametrize(
    "code",
    [
        "import random\nrandom.random()",
        "import time\ntime.sleep(100)\ntime.time()",
        "from datetime import datetime\ndatetime.now()",
    ],
)
def test_the_same_code_gives_the_same_result_at_any_time(tool: PythonTool, code: str) -> None:
    first, second = tool.call({"code": code}), tool.call({"code": code})
    assert not first.is_error
    assert first == second


def test_calls_share_no_state(tool: PythonTool) -> None:
    tool.call({"code": "secret = 1"})
    assert tool.call({"code": "secret"}).is_error


def test_a_closed_tool_opens_again() -> None:
    tool = PythonTool(cut=cut_words)
    tool.close()
    assert tool.call({"code": "1"}).content == "1"
    tool.close()
    assert tool.call({"code": "2"}).content == "2"
    tool.close()


def test_what_the_sandbox_denies_is_marked_as_refused_and_an_ordinary_failure_is_not(tool: PythonTool) -> None:
    denied, failed = (tool.call({"code": code}) for code in ("open('/etc/passwd').read()", "1 / 0"))
    assert (denied.is_error, denied.refused) == (True, True)
    assert (failed.is_error, failed.refused) == (True, False)
