"""What a SIGKILL leaves: the toy pipeline on a real Prefect server, killed in each stage in turn and asked again.

Takes the project's folder and the server's address; gives rows of results. One kill ends the flow's process alone, so
that its stage lives on; the next ends everything that the run had started, as a power cut would. Called by
`tests/benchmarks/operations.py`.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import yaml

from components.experiments.plan import Measured as Row
from flows.shared.paths import Paths
from tests.benchmarks.harness import figure, told

KILLS = 20
STAGES = ("first", "second", "third")
FLOW = "from flows.retrain import retrain; retrain('.', promote=False)"
SLOW = "import time\nfor _ in range(12): time.sleep(0.1)\n"
"""In front of each toy stage: a moment in which it can be killed."""
LATEST = 1.5
"""Seconds after a stage's start within which it is killed; the stage may be over by then, and the next one begun."""
DETERMINISTIC = ("data/first.txt", "data/second.txt", "data/models/final", "data/reports/evaluation")
RUN_REFERENCES = "data/reports/runs/"
"""They hold ids that MLflow makes up."""


def kill(paths: Paths, api: str, *, kills: int, seed: int = 0) -> list[Row]:
    """Killed at a random moment of each stage in turn, then asked again: ends, outputs, processes that are left."""
    env, draw = {**os.environ, "PREFECT_API_URL": api}, random.Random(seed)
    for stage in STAGES:
        script = paths.root / "stages" / f"{stage}.py"
        script.write_text(script.read_text() + SLOW if stage == "second" else SLOW + script.read_text())
    servers = _at_work(paths)
    _uninterrupted(paths, env)
    whole, lock = _outputs(paths), _lock(paths)
    finished, differ, orphans, seconds = 0, 0, 0, []
    for number in range(kills):
        _forget(paths)
        stage = STAGES[number % len(STAGES)]
        moment = draw.uniform(0, LATEST)
        left = _killed(paths, env, stage, moment, servers, everything=bool(number % 2))
        began = time.perf_counter()
        again = _flow(paths, env)
        said, _ = again.communicate()
        seconds.append(time.perf_counter() - began)
        finished += again.returncode == 0
        same = (_outputs(paths), _lock(paths)) == (whole, lock)
        differ += not same
        orphans += len(_at_work(paths) - servers)
        told(f"  {number}: {stage} after {moment:.2f} s, {left} left; status {again.returncode}, same {same}")
        if again.returncode != 0:
            told(said[-2000:])
    return [
        figure("killed at a random moment, asked again: finished", [finished], unit="runs", bar=str(kills)),
        figure("killed at a random moment, asked again: outputs or dvc.lock differ", [differ], unit="runs", bar="0"),
        figure("killed at a random moment, asked again: processes left", [orphans], unit="processes", bar="0"),
        figure("killed at a random moment, asked again: seconds", seconds, unit="s"),
    ]


def lock(paths: Paths, api: str) -> list[Row]:
    """The `dvc.lock` of a whole run of the flow against that of a bare `dvc repro`, nothing taken from a cache."""
    env = {**os.environ, "PREFECT_API_URL": api}
    _uninterrupted(paths, env)
    ours = _lock(paths)
    _forget(paths)
    subprocess.run(["dvc", "repro"], cwd=paths.root, env=env, check=True, capture_output=True)
    return [figure("dvc.lock from Prefect differs from dvc repro", [int(ours != _lock(paths))], unit="files", bar="0")]


def _uninterrupted(paths: Paths, env: dict[str, str]) -> None:
    flow = _flow(paths, env)
    said, _ = flow.communicate()
    assert flow.returncode == 0, said[-2000:]


def _killed(
    paths: Paths, env: dict[str, str], stage: str, moment: float, servers: set[int], *, everything: bool
) -> int:
    """Start the flow and kill it; gives how many of its processes live on."""
    flow = _flow(paths, env)
    while not _runs(paths, stage):
        assert flow.poll() is None, f"it ended before {stage} began: {flow.communicate()[0][-2000:]}"
        time.sleep(0.05)
    time.sleep(moment)
    for pid in sorted(_at_work(paths) - servers) if everything else [flow.pid]:
        try:
            psutil.Process(pid).kill()
        except psutil.NoSuchProcess:
            continue
    flow.wait()
    assert flow.stdout is not None
    flow.stdout.close()
    return len(_at_work(paths) - servers)


def _flow(paths: Paths, env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", FLOW],
        cwd=paths.root,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _runs(paths: Paths, stage: str) -> bool:
    return any(f"stages/{stage}.py" in " ".join(words) for words in _words(paths).values())


def _at_work(paths: Paths) -> set[int]:
    """Processes whose working directory is the project."""
    return set(_words(paths))


def _words(paths: Paths) -> dict[int, list[str]]:
    found = {}
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()) == paths.root and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = process.cmdline()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def _forget(paths: Paths) -> None:
    """Nothing was ever run: no outputs, no lock, and nothing that DVC could bring back."""
    paths.dvc_lock.unlink(missing_ok=True)
    for place in (".dvc/cache/runs", *DETERMINISTIC, RUN_REFERENCES):
        target = paths.root / place
        if target.is_dir():
            shutil.rmtree(target)
        target.unlink(missing_ok=True)


def _outputs(paths: Paths) -> dict[str, str]:
    files = [
        file
        for place in DETERMINISTIC
        for file in ([paths.root / place] if (paths.root / place).is_file() else (paths.root / place).rglob("*"))
    ]
    return {
        str(file.relative_to(paths.root)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(files)
        if file.is_file()
    }


def _lock(paths: Paths) -> Any:
    """What `dvc.lock` says, without the hashes of files that hold made-up ids."""
    stages = yaml.safe_load(paths.dvc_lock.read_text())["stages"]
    for stage in stages.values():
        for row in (*stage.get("outs", ()), *stage.get("deps", ())):
            if row["path"].startswith(RUN_REFERENCES):
                row.pop("md5"), row.pop("size")
    return stages
