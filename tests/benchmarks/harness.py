"""What benchmarks share: paired timing, rows of results, and the file they are written to (DESIGN 8).

A speed is the ratio of two ways of doing the same work, timed in turn in the same process, so that a noisy machine
slows both. Not a test: nothing here is asserted; a bar stands beside the number it is about.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.experiments.plan import Measured as Row
from flows.shared.machine import machine

RESULTS = Path(__file__).parent / "results"
REPOSITORY = Path(__file__).parents[2]
LOOPS = Path("components") / "policy"


def seconds_of(work: Callable[[], Any]) -> float:
    """Wall seconds of one run."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def paired(ours: Callable[[], Any], theirs: Callable[[], Any], *, repeats: int = 5) -> list[tuple[float, float]]:
    """(our, their) seconds, taken in turn after one unmeasured run of each; the order alternates."""
    ours(), theirs()
    pairs = []
    for repeat in range(repeats):
        if repeat % 2:
            other = seconds_of(theirs)
            pairs.append((seconds_of(ours), other))
        else:
            pairs.append((seconds_of(ours), seconds_of(theirs)))
        told(f"  {pairs[-1][0]:.2f} s against {pairs[-1][1]:.2f} s")
    return pairs


def ratio(measure: str, pairs: Sequence[tuple[float, float]], *, bar: str | None) -> Row:
    """How many times as long the other way took: median, least and most of the pairs."""
    return figure(measure, [theirs / ours for ours, theirs in pairs], unit="x", bar=bar)


def figure(measure: str, values: Sequence[float], *, unit: str, bar: str | None = None) -> Row:
    """Median, least and most of repeated measurements."""
    row = Row(measure, statistics.median(values), min(values), max(values), unit, bar, len(values))
    told(f"{row.measure}: {row.value:.3g} {unit} [{row.low:.3g}, {row.high:.3g}]" + (f", bar {bar}" if bar else ""))
    return row


def told(text: str) -> None:
    """Progress, at once."""
    print(text, flush=True)


def cloned(into: Path) -> Path:
    """A clone of what is checked out, computing as this checkout does: with the loops that were compiled for it."""
    subprocess.run(["git", "clone", "-q", str(REPOSITORY), str(into)], check=True)
    for built in (REPOSITORY / LOOPS).glob("*.so"):
        shutil.copy(built, into / LOOPS)
    return into


def untimed(value: object) -> object:
    """A JSON value without what the clock said and what was asked before: fields `..._seconds` and `cached`.

    Records leave both out of their comparisons too: a result is the same from the cache as anew, and charged the same.
    """
    if isinstance(value, dict):
        kept = {key: inner for key, inner in value.items() if key != "cached" and not str(key).endswith("_seconds")}
        return {key: untimed(inner) for key, inner in kept.items()}
    return [untimed(inner) for inner in value] if isinstance(value, list) else value


def write(name: str, rows: Sequence[Row], *, started: float, extra: dict[str, Any] | None = None) -> Path:
    """Write `results/NAME.json`; rows of earlier runs that were not measured now are kept, with the run they are of."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    old = json.loads(path.read_text()) if path.is_file() else {"rows": []}
    now = {
        "git_sha": _git("rev-parse", "--short", "HEAD"),
        "machine": machine(),
        "command": " ".join(["python", "-m", f"tests.benchmarks.{name}", *sys.argv[1:]]),
        "seconds": round(time.perf_counter() - started, 1),
    }
    whole = {"name": name, **now, **_beside(old, [asdict(row) for row in rows], now), **(extra or {})}
    aside = path.with_suffix(".tmp")
    aside.write_text(json.dumps(whole, indent=1) + "\n")
    os.replace(aside, path)
    told(f"written: {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    return path


def measure(name: str, measures: Mapping[str, Callable[[Path], Sequence[Row]]], wanted: Sequence[str]) -> None:
    """Take the wanted measures (all without any), each in a scratch folder of its own, and write each at once."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that servers are ended as well
    started = time.perf_counter()
    for one in wanted or measures:
        told(f"== {one}")
        with tempfile.TemporaryDirectory() as folder:
            write(name, measures[one](Path(folder)), started=started)


def _beside(old: dict[str, Any], new: list[dict[str, Any]], now: dict[str, Any]) -> dict[str, Any]:
    """All rows, and `runs`: what each run that some of them are of has measured."""
    fresh = {row["measure"] for row in new}
    kept = [row for row in old["rows"] if row["measure"] not in fresh]
    whole = {**{key: old.get(key) for key in now}, "measures": [row["measure"] for row in old["rows"]]}
    before = old.get("runs") or [whole]
    runs = [{**run, "measures": [measure for measure in run["measures"] if measure not in fresh]} for run in before]
    return {
        "rows": sorted(kept + new, key=lambda row: str(row["measure"])),
        "runs": [*(run for run in runs if run["measures"]), {**now, "measures": sorted(fresh)}],
    }


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=False).stdout.strip()
