"""The same work on more machines: Ray's workers, a cluster that loses a machine, containers, Postgres and S3.

    python -m tests.benchmarks.scale [MEASURE ...]     workers crew nodes images pool stores restarts head

The first three need the extra `cluster`, and take what a finished `qanat run` of this checkout left under data/: its
models, problems and corpus. The work is the stages `selfplay` and `evaluate` themselves, of a part of the problems, in
a scratch copy. Writes results/scale.json.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from components.records.jsonl import read_rows
from flows.shared.paths import Paths
from flows.shared.process import child_environment
from tests.benchmarks.containers import images, pool
from tests.benchmarks.elsewhere import head, restarts, stores
from tests.benchmarks.harness import REPOSITORY, Row, cloned, figure, measure, told, untimed
from tests.benchmarks.two_nodes import NAMESPACE
from tests.flows.conftest import own_environment

STAGES = ("selfplay", "evaluate")
INPUTS = ("models", "problems", "corpus", "demonstrations")
SMALLER = {
    "selfplay": {"problems": 16, "trees": 4},
    "evaluate": {"max_problems": 64, "batch_size": 16, "traces": 0, "resamples": 200},
}
"""Settings under which two workers have several shards each; the same for all ways."""
LONGER = {"problems": 48, "max_problems": 96}
"""Problems of self-play and of evaluation where times are compared."""
REPEATS = 2
LOCAL: Mapping[str, str] = {"QANAT_PARALLEL": "local"}


@dataclass(frozen=True, slots=True)
class Ran:
    """What both stages took, and a digest of what each gave."""

    seconds: Mapping[str, float]
    content: Mapping[str, str]


def main(wanted: Sequence[str]) -> None:
    """Measure and write."""
    measure("scale", MEASURES, wanted)


def workers(folder: Path) -> list[Row]:
    """One process with two threads against one worker with two; each at work for a minute at least, since a crew takes
    seconds to start."""
    paths = _project(folder / "both", threads=2, **LONGER)
    pairs = [_pair(paths, _crew(1), ours_first=bool(turn % 2)) for turn in range(REPEATS)]
    rows = []
    for stage in STAGES:
        extra = [100 * (ours.seconds[stage] / local.seconds[stage] - 1) for local, ours in pairs]
        rows += [
            figure(f"{stage}: one process, 2 threads", [local.seconds[stage] for local, _ in pairs], unit="s"),
            figure(f"{stage}: a worker of 2 threads, longer", extra, unit="%", bar="<= 15"),
        ]
    differ = sum(_differ(local, ours) for local, ours in pairs)
    return [
        *rows,
        figure("stages whose workers gave other content than one process", [differ], unit="stages", bar="0"),
    ]


def crew(folder: Path) -> list[Row]:
    """One process with one thread against two such workers."""
    paths = _project(folder / "single", threads=1, problems=LONGER["problems"] // 2)
    alone, together = _pair(paths, _crew(2), ours_first=False)
    rows = []
    for stage in STAGES:
        times = alone.seconds[stage] / together.seconds[stage]
        rows += [
            figure(f"{stage}: 2 workers of 1 thread", [together.seconds[stage]], unit="s"),
            figure(f"{stage}: 2 workers of 1 thread against one process of 1 thread", [times], unit="x"),
        ]
    differ = _differ(alone, together)
    return [
        *rows,
        figure("stages where two workers gave other content than one process", [differ], unit="stages", bar="0"),
    ]


def _pair(paths: Paths, crew: Mapping[str, str], *, ours_first: bool) -> tuple[Ran, Ran]:
    """One process, and the crew."""
    if ours_first:
        ours = _run(paths, crew)
        return _run(paths, LOCAL), ours
    return _run(paths, LOCAL), _run(paths, crew)


def nodes(folder: Path) -> list[Row]:
    """Two nodes, one of which is killed when half of a stage's shards are done, against one process."""
    paths = _project(folder / "nodes", threads=1)
    alone = _run(paths, LOCAL)
    told("  two nodes, one killed half-way")
    done = subprocess.run(
        [*NAMESPACE, sys.executable, "-m", "tests.benchmarks.two_nodes", str(paths.root), *STAGES],
        cwd=REPOSITORY,
        env={**os.environ, **_environment(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"the cluster of two nodes ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")
    killed = {row["stage"]: row for row in map(json.loads, done.stdout.splitlines())}
    together = Ran({stage: row["seconds"] for stage, row in killed.items()}, _content(paths))
    told(f"  {killed}")
    return [
        *(figure(f"{stage}: a node of two killed, wall", [together.seconds[stage]], unit="s") for stage in STAGES),
        *(figure(f"{stage}: saved when one was killed", [killed[stage]["saved"]], unit="pieces") for stage in STAGES),
        figure("a node of two killed: stages with other content", [_differ(alone, together)], unit="stages", bar="0"),
        figure("a node of two killed: lost or doubled", [_lost_or_doubled(paths)], unit="plays", bar="0"),
    ]  # fmt: skip


def _project(root: Path, *, threads: int, problems: int | None = None, max_problems: int | None = None) -> Paths:
    """This checkout's settings, smaller, over a copy of what its last run made."""
    data = REPOSITORY / "data"
    if not (data / "models" / "final").is_dir():
        sys.exit("data/models/final is missing: `qanat run` first")
    cloned(root)
    for name in INPUTS:
        shutil.copytree(data / name, root / "data" / name, dirs_exist_ok=True)
    paths = Paths(root)
    params = yaml.safe_load(paths.params.read_text())
    params["policy"]["threads"] = threads
    for section, values in SMALLER.items():
        params[section].update(values)
    params["selfplay"]["problems"] = problems or params["selfplay"]["problems"]
    params["evaluate"]["max_problems"] = max_problems or params["evaluate"]["max_problems"]
    paths.params.write_text(yaml.safe_dump(params, sort_keys=False))
    return paths


def _crew(count: int) -> dict[str, str]:
    return {"QANAT_PARALLEL": "ray", "QANAT_WORKERS": str(count)}


def _environment(paths: Paths) -> dict[str, str]:
    return {**own_environment(paths.root / "mlflow.db"), "PYTHONPATH": str(paths.root)}


def _run(paths: Paths, how: Mapping[str, str]) -> Ran:
    seconds = {}
    for stage in STAGES:
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", f"flows.stages.{stage}"],
            cwd=paths.root,
            env={**child_environment(_environment(paths)), **how},  # as `qanat run` starts it
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            sys.exit(f"{stage} with {dict(how)} ended with {done.returncode}:\n{done.stderr[-4000:]}")
        seconds[stage] = time.perf_counter() - began
        told(f"  {stage}, {' '.join(how.values())}: {seconds[stage]:.1f} s")
    return Ran(seconds, _content(paths))


def _content(paths: Paths) -> dict[str, str]:
    """A digest of what each stage gave, without what the clock said."""
    plays = [untimed(row) for _, row in read_rows(paths.evaluation_trajectories)]
    return {
        "selfplay": str(json.loads(paths.selfplay().summary.read_text())["content_hash"]),
        "evaluate": hashlib.sha256(json.dumps(plays, sort_keys=True).encode()).hexdigest(),
    }


def _differ(one: Ran, other: Ran) -> int:
    return sum(one.content[stage] != other.content[stage] for stage in STAGES)


def _lost_or_doubled(paths: Paths) -> int:
    """Plays of the evaluation that are not there exactly once: every policy plays what its first one played."""
    rows = [(row["policy"], row["problem_id"]) for _, row in read_rows(paths.evaluation_rows)]
    whole = {(policy, problem) for policy in {p for p, _ in rows} for problem in {p for _, p in rows}}
    return len(rows) - len(set(rows)) + len(whole - set(rows))


MEASURES: dict[str, Callable[[Path], list[Row]]] = {
    "workers": workers,
    "crew": crew,
    "nodes": nodes,
    "images": images,
    "pool": pool,
    "stores": stores,
    "restarts": restarts,
    "head": head,
}

if __name__ == "__main__":
    main(sys.argv[1:])
