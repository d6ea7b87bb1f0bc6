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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

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
DETERMINISTIC = ("data/first.txt", "data/second.txt", "data/models/final", "data/reports/evaluation")
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
    left: Callable[[], object]
    """What a run left, to be compared."""


def kill(paths: Paths, api: str, *, kills: int) -> list[Row]:
    """The toy pipeline, killed at a random moment of each stage in turn, each time from nothing."""
    env = {**os.environ, "PREFECT_API_URL": api}
    for stage in STAGES:
        script = paths.root / "stages" / f"{stage}.py"
        script.write_text(script.read_text() + SLOW if stage == "second" else SLOW + script.read_text())
    victim = Victim(
        dict.fromkeys(STAGES, LATEST),
        "stages/{}.py",
        forget=lambda stage: _forget(paths),
        left=lambda: (_outputs(paths), _lock(paths)),
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
        again = _flow(paths, env)
        said, _ = again.communicate()
        seconds.append(time.perf_counter() - began)
        finished += again.returncode == 0
        now = victim.left()
        differ += now != whole
        orphans += len(_at_work(paths) - servers)
        told(f"  {number}: {stage} after {moment:.2f} s, {left} left; status {again.returncode}, same {now == whole}")
        if again.returncode != 0:
            told(said[-2000:])
        elif isinstance(now, dict) and isinstance(whole, dict):
            told("".join(f"    {file} differs\n" for file in sorted(now | whole) if now.get(file) != whole.get(file)))
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
    _forget(paths)
    subprocess.run(["dvc", "repro"], cwd=paths.root, env=env, check=True, capture_output=True)
    return [figure("dvc.lock from Prefect differs from dvc repro", [int(ours != _lock(paths))], unit="files", bar="0")]


def _uninterrupted(paths: Paths, env: dict[str, str]) -> dict[str, float]:
    """How many seconds each real stage's process was seen for."""
    seen: dict[str, list[float]] = {}
    log = paths.root / "run.log"
    with log.open("wb") as stream:
        flow = _flow(paths, env, stream)
    while flow.poll() is None:
        for words in _words(paths).values():
            if words[1:2] == ["-m"] and words[2].startswith("flows.stages."):
                seen.setdefault(words[2].removeprefix("flows.stages."), []).append(time.perf_counter())
        time.sleep(0.1)
    assert flow.returncode == 0, log.read_text()[-2000:]
    return {stage: times[-1] - times[0] for stage, times in seen.items()}


def _killed(
    paths: Paths, env: dict[str, str], words: str, moment: float, servers: set[int], *, everything: bool
) -> int:
    """Start the flow and kill it so long after a process with these words began; gives how many live on."""
    log = paths.root / "run.log"
    with log.open("wb") as stream:
        flow = _flow(paths, env, stream)
    while not any(words in " ".join(line) for line in _words(paths).values()):
        assert flow.poll() is None, f"it ended before {words} began: {log.read_text()[-2000:]}"
        time.sleep(0.05)
    time.sleep(moment)
    for pid in sorted(_at_work(paths) - servers) if everything else [flow.pid]:
        try:
            psutil.Process(pid).kill()
        except psutil.NoSuchProcess:
            continue
    flow.wait()
    return len(_at_work(paths) - servers)


def _flow(paths: Paths, env: dict[str, str], to: IO[bytes] | int = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", FLOW],
        cwd=paths.root,
        env=env,
        text=True,
        stdout=to,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


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


def forget_all(paths: Paths) -> None:
    """No stage was ever run."""
    for stage in _outs(paths):
        _forget_one(paths, stage)


def _forget_one(paths: Paths, stage: str) -> None:
    """This stage was never run."""
    document = yaml.safe_load(paths.dvc_lock.read_text()) if paths.dvc_lock.is_file() else {"stages": {}}
    document["stages"].pop(stage, None)
    paths.dvc_lock.write_text(yaml.safe_dump(document, sort_keys=False))
    for place in (".dvc/cache/runs", *_outs(paths)[stage]):
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
    if file.suffix == ".jsonl":
        return _sum(json.dumps([untimed(row) for _, row in read_rows(file)], sort_keys=True).encode())
    if file.suffix == ".json":
        return _sum(json.dumps(untimed(json.loads(file.read_text())), sort_keys=True).encode())
    return _sum(file.read_bytes())


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _outputs(paths: Paths) -> dict[str, str]:
    files = [
        file
        for place in DETERMINISTIC
        for file in ([paths.root / place] if (paths.root / place).is_file() else (paths.root / place).rglob("*"))
    ]
    return {str(file.relative_to(paths.root)): _sum(file.read_bytes()) for file in sorted(files) if file.is_file()}


def _lock(paths: Paths) -> Any:
    """What `dvc.lock` says, without the hashes of files that hold made-up ids."""
    stages = yaml.safe_load(paths.dvc_lock.read_text())["stages"]
    for stage in stages.values():
        for row in (*stage.get("outs", ()), *stage.get("deps", ())):
            if row["path"].startswith(RUN_REFERENCES):
                row.pop("md5"), row.pop("size")
    return stages
