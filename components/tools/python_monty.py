"""The `python` tool: snippets written by a model, run in a sandbox (pydantic-monty) under hard limits.

Takes code; gives what it printed and the value of its last expression. Time, memory, recursion and output are always
limited. The sandbox sees no file, no network, no clock (it is always 2026-01-01), no sleep and a seeded `random`, so
the same code gives the same result. Every failure is an output whose text starts with the error's name. Does not keep
state between calls.

Monty is a Python of its own: no class inheritance, no generators, part of the standard library.
"""

from __future__ import annotations

import datetime
import threading
from collections.abc import Mapping
from typing import Any

from pydantic_monty import CollectString, Monty, MontyCrashedError, MontyError, MontyRuntimeError, MontySyntaxError

from components.schema.identity import stable_hash
from components.tools.settings import PythonLimits
from components.tools.spec import PYTHON_SPEC, Cut, ToolOutput, ToolSpec

_SANDBOX = {
    "datetime": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    "sleep": "zero",
    "random_start": {"seed": 0},
}
_WORKER_GRACE = 1.5
"""Seconds past the limit after which the worker itself is killed."""
NO_OUTPUT = "(no output)"
DENIED = "PermissionError"
"""How a failure begins when the sandbox kept the code from a file or folder."""


class PythonTool:
    """Runs snippets in a pool of sandbox workers, started at the first call and stopped by `close`."""

    def __init__(self, limits: PythonLimits | None = None, *, cut: Cut, result_tokens: int | None = None) -> None:
        self._limits = limits or PythonLimits()
        self._cut = cut
        self._result_tokens = result_tokens or self._limits.result_tokens
        self._pool: Monty | None = None
        self._lock = threading.Lock()
        self.version = stable_hash(["monty", self._limits.model_dump(exclude={"processes"}), self._result_tokens])

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
            printed, value = self._run(code)
        except MontyError as error:
            return self._failure(_reason(error, self._limits))
        except TimeoutError:
            return self._failure("TimeoutError: no free sandbox", cacheable=False)
        return self._success(printed, value)

    def close(self) -> None:
        """Stops the workers; a later call starts new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.__exit__(None, None, None)

    def _run(self, code: str) -> tuple[str, Any]:
        limits = {
            "max_feed_duration_secs": self._limits.seconds,
            "max_memory": self._limits.memory_bytes,
            "max_recursion_depth": self._limits.recursion_depth,
        }
        printed = CollectString(max_bytes=self._limits.output_bytes)
        with self._open_pool().checkout(limits=limits, os_policy=_SANDBOX) as session:
            value = session.feed_run(code, print_callback=printed)
        return printed.output, value

    def _open_pool(self) -> Monty:
        with self._lock:
            if self._pool is None:
                seconds = self._limits.seconds + _WORKER_GRACE
                pool = Monty(
                    max_processes=self._limits.processes, request_timeout=seconds, checkout_timeout=10 * seconds
                )
                self._pool = pool.__enter__()
            return self._pool

    def _success(self, printed: str, value: Any) -> ToolOutput:
        try:
            shown = "" if value is None else str(value)
        except (ValueError, RecursionError):  # a whole number of more than 4300 digits, a list nested thousands deep
            return self._failure("ValueError: the result is too large to show")
        text = "\n".join(part for part in (printed.strip(), shown[: self._limits.output_bytes]) if part)
        return ToolOutput(self._cut(text or NO_OUTPUT, self._result_tokens), is_error=False)

    def _failure(self, reason: str, *, cacheable: bool = True) -> ToolOutput:
        cut = self._cut(reason[: self._limits.output_bytes], self._result_tokens)  # a message can be megabytes long
        return ToolOutput(cut, is_error=True, cacheable=cacheable, refused=reason.startswith(DENIED))


def _reason(error: MontyError, limits: PythonLimits) -> str:
    """One line without measured figures, so that the same failure always reads the same."""
    if isinstance(error, MontyCrashedError):
        return f"TimeoutError: stopped after {limits.seconds:g} s" if error.timed_out else "MemoryError: sandbox died"
    inner = error.exception()
    if isinstance(inner, TimeoutError):
        return f"TimeoutError: stopped after {limits.seconds:g} s"
    if isinstance(inner, MemoryError):
        return "MemoryError: too much memory or output"
    if isinstance(error, MontyRuntimeError | MontySyntaxError):
        return str(error.display("type-msg")).strip().replace("\n", " ")
    return f"{type(inner).__name__}: {error}".replace("\n", " ")
