"""What a SIGKILL leaves: a pipeline on a real Prefect server, killed in each stage in turn and asked again.

Takes the project's folder and the server's address; gives rows of results. One kill ends the flow's process alone, so
that its stage lives on; the next ends everything that the run had started, as a power cut would. `kill` does so with
the toy pipeline, `stages` with the real one on a handful of problems. Called by `tests/benchmarks/operations.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from components.experiments.plan import Measured as Row
from components.records.jsonl import read_rows
from flows.shared.paths import Paths
from tests.benchmarks.harness import figure, told, untimed

KILLS = 20
STAGES = ("first", "second", "third")
FLOW = "from flows.retrain import retrain; retrain('.', promote=False)"
SLOW = "import time\nfor _ in range(12): time.sleep(0.1)\n"
"""In front of each toy stage: a moment in which it can be killed."""
LATEST = 1.5
"""Seconds after a toy stage's start within which it is killed."""
RUN_REFERENCES = "data/reports/runs/"
"""They hold ids that MLflow makes up."""
DRAWN = (".html", ".svg", ".png", ".parquet")


@dataclass(frozen=True, slots=True)
class Victim:
    """A pipeline to be killed."""

    latest: Mapping[str, float]
    """Stage to seconds after its start within which it is killed; it may be over by then, and the next one begun."""
    words: str
    """What the command of a stage's process contains; {} is the stage."""
    forget: Callable[[str], None]
    """Takes away what lets DVC skip the stage."""
    left: Callable[[], Mapping[str, str]]
    """Digests of what a run left, to be compared."""


def kill(paths: Paths, api: str, *, kills: int) -> list[Row]:
    """The toy pipeline, killed at a random moment of each stage in turn, each time from nothing."""
    env = {**os.environ, "PREFECT_API_URL": api}
    for stage in STAGES:
        script = paths.root / "stages" / f"{stage}.py"
        script.write_text(script.read_text() + SLOW if stage == "second" else SLOW + script.read_text())
    victim = Victim(
        dict.fromkeys(STAGES, LATEST),
        "stages/{}.py",
        forget=lambda stage: forget_all(paths),
        left=lambda: {**_content(paths), "dvc.lock": _sum(json.dumps(_lock(paths), sort_keys=True).encode())},
    )
    servers = _at_work(paths)
    _uninterrupted(paths, env)
    return _kills(paths, env, victim, servers, kills=kills, what="killed at a random moment, asked again")


def stages(paths: Paths, api: str, *, kills: int) -> list[Row]:
    """The real pipeline's profile of tests, killed at a random moment of each of its stages in turn.

    Only the killed stage is forgotten: those after it have nothing to do where what it then gives is what it gave.
    """
    env = {**os.environ, "PREFECT_API_URL": api}
    servers = _at_work(paths)
    took = _uninterrupted(paths, env)
    told("  uninterrupted: " + ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in took.items()))
    victim = Victim(
        took, "flows.stages.{}", forget=lambda stage: _forget_one(paths, stage), left=lambda: _content(paths)
    )
    return _kills(paths, env, victim, servers, kills=kills, what="a real stage killed, asked again")


def _kills(
    paths: Paths, env: dict[str, str], victim: Victim, servers: set[int], *, kills: int, what: str, seed: int = 0
) -> list[Row]:
    """Kill and ask again, so many times: ends, outputs, processes that are left."""
    whole, draw, order = victim.left(), random.Random(seed), list(victim.latest)
    finished, differ, orphans, seconds = 0, 0, 0, []
    for number in range(kills):
        stage = order[number % len(order)]
        victim.forget(stage)
        moment = draw.uniform(0, victim.latest[stage])
        left = _killed(paths, env, victim.words.format(stage), moment, servers, everything=bool(number % 2))
        began = time.perf_counter()
        status = _flow(paths, env).wait()
        seconds.append(time.perf_counter() - began)
        finished += status == 0
        now = victim.left()
        differ += now != whole
        orphans += len(_at_work(paths) - servers)
        told(f"  {number}: {stage} after {moment:.2f} s, {left} left; status {status}, same {now == whole}")
        if status != 0:
            told(_said(paths))
        for file in sorted({*now, *whole}):
            if now.get(file) != whole.get(file):
                told(f"    {file} differs")
    return [
        figure(f"{what}: finished", [finished], unit="runs", bar=str(kills)),
        figure(f"{what}: outputs differ", [differ], unit="runs", bar="0"),
        figure(f"{what}: processes left", [orphans], unit="processes", bar="0"),
        figure(f"{what}: seconds", seconds, unit="s"),
    ]


def lock(paths: Paths, api: str) -> list[Row]:
    """The `dvc.lock` of a whole run of the flow against that of a bare `dvc repro`, nothing taken from a cache."""
    env = {**os.environ, "PREFECT_API_URL": api}
    _uninterrupted(paths, env)
    ours = _lock(paths)
    forget_all(paths)
    subprocess.run(["dvc", "repro"], cwd=paths.root, env=env, check=True, capture_output=True)
    return [figure("dvc.lock from Prefect differs from dvc repro", [int(ours != _lock(paths))], unit="files", bar="0")]


def _uninterrupted(paths: Paths, env: dict[str, str]) -> dict[str, float]:
    """How many seconds each real stage's process was seen for."""
    seen: dict[str, list[float]] = {}
    flow = _flow(paths, env)
    while flow.poll() is None:
        for words in _words(paths).values():
            if words[1:2] == ["-m"] and words[2].startswith("flows.stages."):
                seen.setdefault(words[2].removeprefix("flows.stages."), []).append(time.perf_counter())
        time.sleep(0.1)
    assert flow.returncode == 0, _said(paths)
    return {stage: times[-1] - times[0] for stage, times in seen.items()}


def _killed(
    paths: Paths, env: dict[str, str], words: str, moment: float, servers: set[int], *, everything: bool
) -> int:
    """Start the flow and kill it so long after a process with these words began; gives how many live on."""
    flow = _flow(paths, env)
    while not any(words in " ".join(line) for line in _words(paths).values()):
        assert flow.poll() is None, f"it ended before {words} began: {_said(paths)}"
        time.sleep(0.05)
    time.sleep(moment)
    for pid in sorted(_at_work(paths) - servers) if everything else [flow.pid]:
        try:
            psutil.Process(pid).kill()
        except psutil.NoSuchProcess:
            continue
    flow.wait()
    return len(_at_work(paths) - servers)


def _flow(paths: Paths, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with _log(paths).open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-c", FLOW], cwd=paths.root, env=dict(env), stdout=log, stderr=log, start_new_session=True
        )


def _log(paths: Paths) -> Path:
    return paths.root / "run.log"


def _said(paths: Paths) -> str:
    return _log(paths).read_text(errors="replace")[-2000:]


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


def forget_all(paths: Paths) -> None:
    """No stage was ever run."""
    paths.dvc_lock.unlink(missing_ok=True)
    for outs in _outs(paths).values():
        _remove(paths, outs)


def _forget_one(paths: Paths, stage: str) -> None:
    """This stage was never run."""
    document = yaml.safe_load(paths.dvc_lock.read_text())
    document["stages"].pop(stage, None)
    paths.dvc_lock.write_text(yaml.safe_dump(document, sort_keys=False))
    _remove(paths, _outs(paths)[stage])


def _remove(paths: Paths, places: Sequence[str]) -> None:
    """Outputs, and what would let DVC bring them back."""
    for place in (".dvc/cache/runs", *places):
        target = paths.root / place
        if target.is_dir():
            shutil.rmtree(target)
        target.unlink(missing_ok=True)


def _outs(paths: Paths) -> dict[str, list[str]]:
    return {
        name: stage["outs"]
        for name, stage in yaml.safe_load(paths.dag.read_text())["stages"].items()
        if "outs" in stage
    }


def _content(paths: Paths) -> dict[str, str]:
    """Digests of what the stages gave, without what the clock said and what is drawn from the rest.

    The table of the trees' nodes is there with the hash of its content, which its summary holds.
    """
    places = [paths.root / place for outs in _outs(paths).values() for place in outs]
    files = [file for place in places for file in ([place] if place.is_file() else sorted(place.rglob("*")))]
    return {
        str(file.relative_to(paths.root)): _digest(file)
        for file in files
        if file.is_file() and file.suffix not in DRAWN and file.parent != paths.root / RUN_REFERENCES
    }


def _digest(file: Path) -> str:
    if "models" in file.parts:  # no clock leaves a trace in them
        return _sum(file.read_bytes())
    if file.suffix == ".jsonl":
        return _sum(json.dumps([untimed(row) for _, row in read_rows(file)], sort_keys=True).encode())
    if file.suffix == ".json":
        return _sum(json.dumps(untimed(json.loads(file.read_text())), sort_keys=True).encode())
    return _sum(file.read_bytes())


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _lock(paths: Paths) -> Any:
    """What `dvc.lock` says, without the hashes of files that hold made-up ids."""
    stages = yaml.safe_load(paths.dvc_lock.read_text())["stages"]
    for stage in stages.values():
        for row in (*stage.get("outs", ()), *stage.get("deps", ())):
            if row["path"].startswith(RUN_REFERENCES):
                row.pop("md5"), row.pop("size")
    return stages
