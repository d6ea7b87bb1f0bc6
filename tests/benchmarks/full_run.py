"""The main job on the whole data: `qanat run --profile full` in a fresh clone, its times and what it found.

    python -m tests.benchmarks.full_run

Takes hours on two cores. One run, so the intervals of its figures are over problems only. Writes results/full_run.json.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.experiments.plan import Measured as Row
from components.experiments.recipe import BARS
from flows.shared.paths import Paths
from tests.benchmarks.fresh_run import Ran, ran, stages
from tests.benchmarks.harness import REPOSITORY, figure, told, write

SHOWN = {
    "eval/accuracy": ("accuracy", 100.0, "%"),
    "eval/decision_accuracy": ("decision accuracy", 100.0, "%"),
    "eval/calls": ("calls a problem", 1.0, "calls"),
    "eval/cost_per_correct": ("cost per correct answer", 1.0, "units"),
}


def main() -> None:
    """Measure and write."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "-q", str(REPOSITORY), str(clone)], check=True)
        subprocess.run(["make", "setup"], cwd=clone, check=True)
        run = ran([".venv/bin/qanat", "run", "--profile", "full"], clone)
        write("full_run", rows(run, Paths(clone)), started=started)


def rows(run: Ran, paths: Paths) -> list[Row]:
    """Times, memory, and the evaluation that the run left."""
    took = [figure("full: installed, to the gate's verdict", [run.seconds], unit="s"),
            figure("full: peak memory of all its processes", [run.gigabytes], unit="GB")]  # fmt: skip
    took += [figure(f"full: stage {stage}", [seconds], unit="s") for stage, seconds in stages(run.output)]
    report = json.loads(paths.evaluation_report.read_text(encoding="utf-8"))
    return [*took, *_levels(report), *_differences(report)]


def _levels(report: dict[str, Any]) -> Iterator[Row]:
    for one in report["reports"]:
        for metric, (name, scale, unit) in SHOWN.items():
            if metric in one["metrics"]:
                yield _row(f"full: {name}, {one['policy']}", one["metrics"][metric], scale, unit)
        if one["policy"] in ("clone", "reinforced", "final"):
            for slice_name, metrics in one["by_slice"].items():
                yield _row(f"full: accuracy, {one['policy']}, {slice_name}", metrics["eval/accuracy"], 100.0, "%")


def _differences(report: dict[str, Any]) -> Iterator[Row]:
    for one in report["comparisons"]:
        for metric in ("eval/accuracy", "eval/cost_per_correct"):
            name, scale, unit = SHOWN[metric]
            measure = f"full: {one['challenger']} - {one['baseline']}, {name}"
            bar = BARS.get((one["challenger"], one["baseline"], metric))
            yield _row(measure, one["differences"][metric], scale, "points" if unit == "%" else unit, bar)


def _row(measure: str, found: dict[str, float], scale: float, unit: str, bar: str | None = None) -> Row:
    row = Row(measure, scale * found["value"], scale * found["low"], scale * found["high"], unit, bar, int(found["n"]))
    told(f"{row.measure}: {row.value:.3g} {unit} [{row.low:.3g}, {row.high:.3g}]")
    return row


if __name__ == "__main__":
    main()
