"""Runs calls: checks arguments, runs tools side by side, charges the price sheet, remembers results.

Takes tools, a price sheet and a clock; gives one `ToolResult` a call, in order. Every call is charged the sheet's price
in full, whether it succeeds, fails, times out or comes from the cache; the clock only measures the `wall_seconds` that
are reported. An unknown tool and wrong arguments are results with `is_error`. Does not kill a tool that never returns:
it gives up waiting, and takes fresh threads.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from components.schema.arguments import check_arguments
from components.schema.identity import stable_hash
from components.schema.message import ToolCall, ToolResult
from components.tools.prices import PriceSheet
from components.tools.spec import Tool, ToolOutput, ToolSpec

Clock = Callable[[], float]
DEFAULT_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class _Running:
    """A call that was handed to the threads."""

    tool: Tool
    arguments: Mapping[str, Any]
    started: threading.Event
    future: Future[tuple[ToolOutput, float]]


class Toolbox:
    """The tools a policy may call, behind one door."""

    def __init__(
        self,
        tools: Sequence[Tool],
        prices: PriceSheet,
        clock: Clock,
        max_workers: int = 4,
        *,
        timeouts: Mapping[str, float] | None = None,
        cache_size: int = 50_000,
    ) -> None:
        self._tools = {tool.spec.name: tool for tool in tools}
        self._prices, self._clock, self._max_workers = prices, clock, max_workers
        self._timeouts, self._cache_size = dict(timeouts or {}), cache_size
        self._cache: dict[str, ToolResult] = {}
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(max_workers)
        self._waiters = ThreadPoolExecutor(4 * max_workers)
        self._flying: dict[str, Future[ToolResult]] = {}

    def specs(self, names: Sequence[str] | None = None) -> tuple[ToolSpec, ...]:
        """The specs of the named tools, in that order; of all tools by default. KeyError names a missing one."""
        return tuple(self._tools[name].spec for name in (self._tools if names is None else names))

    def call(self, call: ToolCall) -> ToolResult:
        """The result of one call."""
        return self.call_many([call])[0]

    def call_many(self, calls: Sequence[ToolCall]) -> list[ToolResult]:
        """One result a call, in the order of the calls; equal calls run once."""
        flying: dict[str, Future[ToolResult]] = {}
        futures = []
        for call in calls:
            key = json.dumps([call.name, dict(call.arguments)], sort_keys=True)
            if key not in flying:
                flying[key] = self.submit(call)
            futures.append(flying[key])
        return [future.result() for future in futures]

    def submit(self, call: ToolCall) -> Future[ToolResult]:
        """The result of one call, later; an equal call that is under way is joined, not run again."""
        refused = self._refuse(call)
        if refused is not None:
            return _done(refused)
        tool = self._tools[call.name]
        key = _key(call, tool)
        with self._lock:
            known = self._cache.get(key)
            if known is not None:
                return _done(replace(known, cached=True))
            if key not in self._flying:
                self._flying[key] = self._waiters.submit(self._fly, key, tool, call.arguments)
            return self._flying[key]

    def _fly(self, key: str, tool: Tool, arguments: Mapping[str, Any]) -> ToolResult:
        try:
            return self._finish(key, self._start(tool, arguments))
        finally:
            with self._lock:
                self._flying.pop(key, None)

    def close(self) -> None:
        """Stops the threads and closes every tool that can be closed."""
        self._waiters.shutdown(wait=False)
        self._threads.shutdown(wait=False)
        close_all(self._tools.values())

    def _refuse(self, call: ToolCall) -> ToolResult | None:
        """The charged error of a call that cannot be run; None when it can."""
        tool = self._tools.get(call.name)
        if tool is None:
            return self._error(call.name, f"Error: there is no tool {call.name!r:.60}.")
        complaints = check_arguments(tool.spec, call.arguments)
        if not complaints:
            return None
        words = "; ".join(f"{complaint.field} {complaint.reason}".strip() for complaint in complaints[:3])
        return self._error(call.name, f"Error: {tool.spec.signature()}: {words}.")

    def _error(self, name: str, reason: str) -> ToolResult:
        return ToolResult(content=reason, is_error=True, cost=self._prices.charge(name))

    def _start(self, tool: Tool, arguments: Mapping[str, Any]) -> _Running:
        started = threading.Event()

        def work() -> tuple[ToolOutput, float]:
            started.set()
            before = self._clock()
            output = tool.call(arguments)
            return output, self._clock() - before

        return _Running(tool, arguments, started, self._threads.submit(work))

    def _finish(self, key: str, job: _Running) -> ToolResult:
        """Waits for a job, its time counted from its start, and remembers what it gave."""
        name = job.tool.spec.name
        seconds = self._timeouts.get(name, DEFAULT_TIMEOUT)
        while not job.started.wait(seconds):  # queued behind calls that hang: give it fresh threads
            if job.future.cancel():
                self._renew_threads()
                job = self._start(job.tool, job.arguments)
        try:
            output, wall = job.future.result(timeout=seconds)
        except TimeoutError:
            if job.future.done():
                raise  # the tool itself raised: a bug, for tools must give an output
            self._renew_threads()
            return self._error(name, f"TimeoutError: {name} gave no answer within {seconds:g} s.")
        result = ToolResult(
            output.content,
            output.is_error,
            self._prices.charge(name),
            output.source_ids,
            wall,
            refused=output.refused,
            tool_version=job.tool.version,
        )
        if output.cacheable:
            self._remember(key, result)
        return result

    def _renew_threads(self) -> None:
        """Leaves hung threads behind; what is queued there still runs."""
        with self._lock:
            self._threads.shutdown(wait=False)
            self._threads = ThreadPoolExecutor(self._max_workers)

    def _remember(self, key: str, result: ToolResult) -> None:
        with self._lock:
            self._cache[key] = result
            while len(self._cache) > self._cache_size:
                self._cache.pop(next(iter(self._cache)))


def close_all(tools: Iterable[Tool]) -> None:
    """Closes every tool that can be closed."""
    for tool in tools:
        close = getattr(tool, "close", None)
        if close is not None:
            close()


def _key(call: ToolCall, tool: Tool) -> str:
    """Equal calls of the same version of a tool have the same key."""
    return stable_hash([call.name, tool.version, dict(call.arguments)], length=64)


def _done(result: ToolResult) -> Future[ToolResult]:
    future: Future[ToolResult] = Future()
    future.set_result(result)
    return future
