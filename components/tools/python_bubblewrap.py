"""The `python` tool with a whole CPython, in a bubblewrap sandbox: classes, generators, the standard library.

Takes code; gives what it printed and the value of its last expression, in the words of `components.tools.python_monty`.
Slower than that tier (tens of milliseconds a call), and only to be had where the sandbox was seen to hold:
`open_python` tries it first and refuses otherwise, and never runs code in a weaker place than was asked for. Unlike
there the program can read the clock, so code that does so may give another result.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from components.schema.identity import stable_hash
from components.tools.bubblewrap import Run, run_sandboxed
from components.tools.bubblewrap_proof import why_not_proven
from components.tools.function_tool import BadTool
from components.tools.python_monty import NO_OUTPUT, PythonTool
from components.tools.settings import PythonLimits
from components.tools.spec import PYTHON_SPEC, Cut, Tool, ToolOutput, ToolSpec

_DENIED = (
    "PermissionError",
    "FileNotFoundError",  # nothing is there to be found: it looked for files that are not its own
    "BlockingIOError",  # a process or thread of its own
    "OSError: [Errno 30]",  # a read-only file system
    "ConnectionRefusedError",
    "OSError: [Errno 101]",  # no network
    "gaierror",
)
"""How failures begin when the sandbox kept the program from something."""


class BubblewrapPythonTool:
    """Runs each snippet in a process and namespaces of its own; keeps nothing between calls."""

    def __init__(self, limits: PythonLimits, *, cut: Cut) -> None:
        self._limits, self._cut = limits, cut
        self._places = threading.BoundedSemaphore(limits.processes)
        self.version = stable_hash(["bubblewrap", list(sys.version_info[:3]), limits.model_dump(exclude={"processes"})])

    @property
    def spec(self) -> ToolSpec:
        """`python(code)`."""
        return PYTHON_SPEC

    def call(self, arguments: Mapping[str, Any]) -> ToolOutput:
        """The result text, or the error that the snippet ended in."""
        code = arguments.get("code")
        if not isinstance(code, str) or not code.strip():
            return ToolOutput("Error: the code is empty.", is_error=True)
        try:
            source = code.encode("utf-8")
        except UnicodeEncodeError:
            return self._failure("SyntaxError: source code is not valid UTF-8 (contains lone surrogates)")
        with self._places:
            ended = run_sandboxed(source, self._limits)
        reason = _reason(ended, self._limits)
        if reason is not None:
            return self._failure(reason)
        return ToolOutput(self._cut(ended.output or NO_OUTPUT, self._limits.result_tokens), is_error=False)

    def _failure(self, reason: str) -> ToolOutput:
        cut = self._cut(reason, self._limits.result_tokens)
        return ToolOutput(cut, is_error=True, refused=reason.startswith(_DENIED))


def open_python(limits: PythonLimits, *, cut: Cut, prove: Callable[[], str | None] = why_not_proven) -> Tool:
    """The tool of the tier that the settings name; `prove` says what is wrong with the bubblewrap tier here.

    Raises:
        BadTool: that tier was tried and does not hold here; no other one takes its place.
    """
    if limits.tier == "monty":
        return PythonTool(limits, cut=cut)
    fault = prove()
    if fault is not None:
        advice = "install bubblewrap and allow user namespaces, or set tools.python.tier to monty"
        raise BadTool(f"tools.python.tier is bubblewrap, which does not hold on this machine: {fault}; {advice}")
    return BubblewrapPythonTool(limits, cut=cut)


def _reason(ended: Run, limits: PythonLimits) -> str | None:
    """Why there is no result, in the words of the other tier; None when there is one."""
    if ended.timed_out:
        return f"TimeoutError: stopped after {limits.seconds:g} s"
    if ended.overflowed or ended.fault.startswith("MemoryError"):
        return "MemoryError: too much memory or output"
    if ended.status == 0:
        return None
    return ended.fault or "MemoryError: sandbox died"
