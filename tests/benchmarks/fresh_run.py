"""The main job as a newcomer meets it: `make run` in a fresh clone, and `qanat run` again with nothing changed.

    python -m tests.benchmarks.fresh_run

Clones the commit that is checked out into a scratch folder. Time includes the installation. Memory is the sum over all
processes at work in the clone, looked at every two seconds; pages that several share are divided among them (PSS).
Writes results/fresh_run.json; what the run itself found stands in its report, which is removed with the clone.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.benchmarks.harness import REPOSITORY, Row, figure, told, write

LOOK_SECONDS = 2.0
STAGE = re.compile(r"^(\S+) +(ran|restored|unchanged)(?: +([\d.]+) s)?")
STAGES_RUN = re.compile(r"^(\d+) stages ran", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Ran:
    """What one command took."""

    seconds: float
    gigabytes: float
    """The most memory at once, in units of 10^9 bytes."""
    output: str


def main() -> None:
    """Measure and write."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "-q", str(REPOSITORY), str(clone)], check=True)
        first = ran(["make", "run"], clone)
        again = ran([".venv/bin/qanat", "run"], clone)
    write("fresh_run", [*_first(first), *_again(again)], started=started)


def _first(first: Ran) -> Iterator[Row]:
    yield figure("make run on a fresh clone, with its installation", [first.seconds], unit="s", bar="<= 1500")
    yield figure("make run: peak memory of all its processes", [first.gigabytes], unit="GB", bar="<= 8")
    for stage, seconds in stages(first.output):
        yield figure(f"make run: stage {stage}", [seconds], unit="s")


def _again(again: Ran) -> Iterator[Row]:
    yield figure("qanat run again, nothing changed", [again.seconds], unit="s", bar="< 15")
    found = STAGES_RUN.search(again.output)
    yield figure("qanat run again: stages run", [float(found[1]) if found else float("nan")], unit="stages", bar="0")


def stages(output: str) -> Iterator[tuple[str, float]]:
    """Every stage that ran, and its seconds, as `qanat run` tells them."""
    for line in output.splitlines():
        found = STAGE.match(line)
        if found is not None and found[3]:
            yield found[1], float(found[3])


def ran(command: list[str], folder: Path) -> Ran:
    """Run it to its end, looking at its memory; a failure ends the benchmark with the command's last lines."""
    log, most, began = folder.parent / "output.log", 0, time.perf_counter()
    with log.open("w") as stream:
        process = subprocess.Popen(command, cwd=folder, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            while process.poll() is None:
                most = max(most, memory_of(folder))
                time.sleep(LOOK_SECONDS if time.perf_counter() - began > 30 else 0.1)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
    seconds, output = time.perf_counter() - began, log.read_text()
    told("\n".join(output.splitlines()[-30:]))
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with status {process.returncode}")
    return Ran(seconds, most / 1e9, output)


def memory_of(folder: Path) -> int:
    """Bytes of all processes whose working directory lies in `folder`, each page counted once."""
    total = 0
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder):
                total += process.memory_full_info().pss
        except (psutil.Error, OSError):  # it has ended, or is another user's
            continue
    return total


if __name__ == "__main__":
    main()
