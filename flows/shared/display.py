"""What a person sees while stages run: a bar per stage on a terminal, plain lines elsewhere.

Takes lines and progress of stages; gives text on standard output. Does not keep records: Prefect's server does.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from flows.shared import progress as stage_progress

PLAIN_SECONDS = 10.0


class Display:
    """Shows one run; make it with `opened`."""

    def __init__(self, console: Console, bars: Progress | None) -> None:
        self.console = console
        self.bars = bars
        """None when the output is not a terminal."""
        self._bar: TaskID | None = None
        self._last_plain = 0.0

    def stage_started(self, stage: str, *, number: int, count: int) -> None:
        """A bar (or a line) for a stage that is about to run."""
        title = f"[{number}/{count}] {stage}"
        if self.bars is None:
            self._print(f"{title} ...")
        else:
            self._bar = self.bars.add_task(title, total=None, rate="")

    def progress(self, told: stage_progress.Progress) -> None:
        """Move the stage's bar."""
        if self.bars is not None and self._bar is not None:
            figures = "  ".join(f"{name} {value:.3g}" for name, value in told.metrics.items())
            self.bars.update(
                self._bar, completed=told.step, total=told.total, rate=f"{told.rate}  {figures}".strip(), refresh=True
            )
        elif time.monotonic() - self._last_plain >= PLAIN_SECONDS or told.step >= told.total:
            self._last_plain = time.monotonic()
            self._print(f"    {stage_progress.sentence(told)}")

    def line(self, text: str) -> None:
        """An ordinary line of a stage."""
        self._print(f"    {text}")

    def stage_ended(self, stage: str, *, outcome: str, seconds: float) -> None:
        """Replace the bar by one line that stays."""
        if self.bars is not None and self._bar is not None:
            self.bars.remove_task(self._bar)
            self._bar = None
        self._print(f"{stage:<12} {outcome:<10} {seconds:7.1f} s")

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def opened() -> Iterator[Display]:
    """A display on standard output for the time of a run."""
    console = Console()
    if not console.is_terminal:
        yield Display(console=console, bars=None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        yield Display(console=console, bars=bars)
