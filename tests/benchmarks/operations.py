"""What it takes to leave Qanat running: mostly a toy pipeline of three stages, on a real Prefect server.

    python -m tests.benchmarks.operations [MEASURE ...]     writers trigger rerun overhead kill stages whole lock
        events twice

Writes results/operations.json. Makes its project, server and stores in a scratch folder and removes them.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from components.records.annotations import read_annotations
from components.tools.spec import KNOWN_SPECS
from flows.shared import prefect_server
from flows.shared.newest_retrain import read_newest
from flows.shared.paths import Paths
from flows.shared.process import alone
from tests.benchmarks import crashes
from tests.benchmarks.harness import REPOSITORY, Row, cloned, figure, measure
from tests.benchmarks.prefect_runs import ask, deployment, ended_well, server_at, until
from tests.components.records.test_intake import WRITER
from tests.flows.conftest import DAG, FIRST, REGISTRY, SECOND, THIRD, own_environment

WRITERS = 8
ANNOTATIONS = 1000
TRIGGERS = 10
REPEATS = 3
SETTINGS = "watch: {quiet_seconds: 0, minimum: 1, poll_seconds: 0.5}\nfree_gigabytes: 0\n"


def main(wanted: Sequence[str]) -> None:
    """Measure and write."""
    measure("operations", MEASURES, wanted)


def writers(folder: Path) -> list[Row]:
    """1,000 annotations from 8 processes at once, each row an addition of its own; one writer is killed half-way."""
    each = ANNOTATIONS // WRITERS
    began = time.perf_counter()
    processes = [_writer(folder, f"w{number}", each) for number in range(WRITERS)]
    victim = processes[3]
    assert victim.stdout is not None
    told_by_victim = [victim.stdout.readline().strip() for _ in range(each // 2)]
    victim.send_signal(signal.SIGKILL)
    ids = [line for process in processes for line in process.communicate()[0].split()] + told_by_victim
    seconds = time.perf_counter() - began
    batch = read_annotations(folder / "annotations", tools=KNOWN_SPECS)
    kept = Counter(row.annotation_id for row in batch.annotations)
    return [
        figure("8 writers, one killed: lost", [len(set(ids) - set(kept))], unit="rows", bar="0"),
        figure("8 writers, one killed: doubled", [sum(kept.values()) - len(kept)], unit="rows", bar="0"),
        figure("8 writers, one killed: corrupt", [len(batch.rejects)], unit="rows", bar="0"),
        figure("8 writers, one killed: added", [len(kept)], unit="rows"),
        figure("8 writers: additions a second", [len(kept) / seconds], unit="1/s"),
    ]


def _writer(folder: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), name, str(count)]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)


def trigger(folder: Path) -> list[Row]:
    """From the rename that saves an annotation until its retrain is RUNNING, with the watcher of `qanat up`."""
    with _served(folder) as (paths, api), _command(paths, "watch"):
        ended_well(api, until(lambda: _newest_run(paths)))
        seconds = []
        for number in range(TRIGGERS):
            before = _newest_run(paths)
            file = paths.annotations / f"n{number}.jsonl"
            aside = paths.root / "aside"
            aside.write_text(f'{{"n": {number}}}\n')
            saved = time.time()
            aside.replace(file)
            run = until(lambda before=before: (now := _newest_run(paths)) != before and now)
            seconds.append(_running_since(api, run) - saved)
            ended_well(api, run)
    ordered = sorted(seconds)
    high = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    rows = [figure("annotation saved to retrain RUNNING", seconds, unit="s")]
    return [*rows, figure("annotation saved to retrain RUNNING, p95", [high], unit="s", bar="< 10")]


def rerun(folder: Path) -> list[Row]:
    """The deployment asked again with nothing changed, from the request to its end."""
    with _served(folder) as (_, api):
        first = ask(api)
        ended_well(api, first)
        seconds, stages = [], []
        for _ in range(REPEATS):
            began = time.time()
            run = ask(api)
            ended_well(api, run)
            seconds.append(time.time() - began)
            stages.append(_stages_run(api, run))
    return [
        figure("unchanged rerun through the deployment", seconds, unit="s", bar="< 15"),
        figure("unchanged rerun: stages run", stages, unit="stages", bar="0"),
    ]


def overhead(folder: Path) -> list[Row]:
    """`qanat run` without promotion's second pass against bare `dvc repro`, all stages forced, server running."""
    with _server(folder) as (paths, api):
        flow = "from flows.retrain import retrain; retrain('.', promote=False)"
        env = {**os.environ, "PREFECT_API_URL": api}
        ours, theirs = [], []
        for repeat in range(REPEATS):
            ours.append(_timed([sys.executable, "-c", flow], paths, env, f"ours {repeat}"))
            theirs.append(_timed(["dvc", "repro"], paths, env, f"theirs {repeat}"))
    rows = [figure("three toy stages: flow", ours, unit="s"), figure("three toy stages: dvc repro", theirs, unit="s")]
    extra = [ours_ - theirs_ for ours_, theirs_ in zip(ours, theirs, strict=True)]
    return [
        *rows,
        figure("flow overhead over dvc repro", extra, unit="s", bar=_bar(statistics.median(theirs))),
    ]


def kill(folder: Path) -> list[Row]:
    """SIGKILL at a random moment of each stage, then the same again."""
    with _server(folder) as (paths, api):
        return crashes.kill(paths, api, kills=crashes.KILLS)


def stages(folder: Path) -> list[Row]:
    """The same with the real stages, of the profile of tests, in a clone of what is checked out."""
    with _real(folder, "smoke") as (paths, api):
        return crashes.stages(paths, api, kills=crashes.KILLS)


def whole(folder: Path) -> list[Row]:
    """The real stages of the profile demo: the flow of `qanat run`, promotion included, against bare `dvc repro`."""
    with _real(folder, "demo") as (paths, api):
        env = {**os.environ, "PREFECT_API_URL": api}
        began = time.perf_counter()
        flow = "from flows.retrain import retrain; retrain('.')"
        subprocess.run([sys.executable, "-c", flow], cwd=paths.root, env=env, check=True)
        ours = time.perf_counter() - began
        crashes.forget_all(paths)
        began = time.perf_counter()
        subprocess.run(["dvc", "repro"], cwd=paths.root, env=env, check=True)
        theirs = time.perf_counter() - began
    return [
        figure("whole demo: flow, promotion included", [ours], unit="s"),
        figure("whole demo: dvc repro", [theirs], unit="s"),
        figure("whole demo: flow overhead over dvc repro", [ours - theirs], unit="s", bar=_bar(theirs)),
    ]


@contextmanager
def _real(folder: Path, profile: str) -> Iterator[tuple[Paths, str]]:
    """A clone of what is checked out, with annotations and a server of its own."""
    clone = cloned(folder / "clone")
    paths = Paths(clone)
    paths.params.write_text(paths.params.read_text().replace("profile: demo", f"profile: {profile}", 1))
    mine = {**own_environment(folder / "mlflow.db"), "PREFECT_HOME": str(paths.prefect_home), "PYTHONPATH": str(clone)}
    os.environ.update(mine)
    subprocess.run([sys.executable, "-m", "flows.cli", "annotations", "seed"], cwd=clone, check=True)
    with server_at(paths, prefect_server.free_port()) as api:
        yield paths, api


def _bar(theirs: float) -> str:
    return f"<= {20 + 0.05 * theirs:.3g}"


def lock(folder: Path) -> list[Row]:
    """`dvc.lock` from Prefect against bare `dvc repro`."""
    with _server(folder) as (paths, api):
        return crashes.lock(paths, api)


def events(folder: Path) -> list[Row]:
    """Hints that are lost, doubled, out of order, or come while the server is away: how many retrains they lead to."""
    paths = _project(folder)
    port = prefect_server.free_port()
    wrong = {}
    with server_at(paths, port) as api:
        os.environ["PREFECT_API_URL"] = api
        with _command(paths, "deploy"):
            until(lambda: deployment(api))
        asked = _asked_for(paths, api, looks=1, at_once=False)
        wrong["lost"] = abs(asked - 1)  # nobody emitted an event: a look finds the rows all the same
        _annotate(paths, "b")
        wrong["doubled"] = abs(_asked_for(paths, api, looks=3, at_once=True) - 1)
        _annotate(paths, "d")
        _annotate(paths, "c")
        wrong["out of order"] = abs(_asked_for(paths, api, looks=2, at_once=False) - 1)
    _annotate(paths, "e")
    _look(paths).wait()  # in vain: the server is away
    with server_at(paths, port) as api:
        os.environ["PREFECT_API_URL"] = api
        wrong["server restarted"] = abs(_asked_for(paths, api, looks=2, at_once=False) - 1)
    return [
        figure(f"events {kind}: retrains too many or few", [count], unit="retrains", bar="0")
        for kind, count in wrong.items()
    ]


def twice(folder: Path) -> list[Row]:
    """Two retrains asked for at once, with other annotations: how they end, and what their workspaces hold."""
    with _served(folder) as (paths, api):
        first = ask(api)
        _annotate(paths, "b")
        second = ask(api)
        for run in (first, second):
            ended_well(api, run)
        spaces = [space for space in paths.workspaces.iterdir() if (space / "dvc.lock").is_file()]
        bad = [space for space in spaces if _dvc_status(space) != "{}"]
    return [
        figure("two retrains at once: ended well", [2], unit="runs", bar="2"),  # `ended_well` raises otherwise
        figure("two retrains at once: workspaces", [len(spaces)], unit="folders"),
        figure("two retrains at once: corrupt workspaces", [len(bad)], unit="folders", bar="0"),
    ]


def _dvc_status(space: Path) -> str:
    done = subprocess.run(["dvc", "status", "--json"], cwd=space, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _annotate(paths: Paths, name: str) -> None:
    (paths.annotations / f"{name}.jsonl").write_text(f'{{"name": "{name}"}}\n')


def _look(paths: Paths) -> subprocess.Popen[bytes]:
    """What a hint leads to: one look at the folder, in a process of its own."""
    program = "from flows.watch import look; from flows.shared.paths import project; look(project())"
    return subprocess.Popen([sys.executable, "-c", program], cwd=paths.root, stderr=subprocess.DEVNULL)


def _asked_for(paths: Paths, api: str, *, looks: int, at_once: bool) -> int:
    """How many retrains so many hints lead to."""
    before = _retrains(api)
    processes = []
    for _ in range(looks):
        processes.append(_look(paths))
        if not at_once:
            processes[-1].wait()
    for process in processes:
        process.wait()
    return _retrains(api) - before


def _retrains(api: str) -> int:
    """Runs of the deployment `retrain` that were asked for by the watcher."""
    wanted = {"deployments": {"name": {"any_": ["retrain"]}}, "limit": 200}
    runs = httpx.post(f"{api}/flow_runs/filter", json=wanted).json()
    return sum(str(run.get("idempotency_key") or "").startswith("annotations-") for run in runs)


def _timed(command: list[str], paths: Paths, env: dict[str, str], text: str) -> float:
    """Seconds with a source that no cache knows."""
    (paths.root / "data" / "source.txt").write_text(f"{text}\n")
    began = time.perf_counter()
    subprocess.run(command, cwd=paths.root, env=env, check=True, capture_output=True)
    return time.perf_counter() - began


# --- the project, its server, its deployments -------------------------------------------------------------------------


@contextmanager
def _server(folder: Path) -> Iterator[tuple[Paths, str]]:
    paths = _project(folder)
    with server_at(paths, prefect_server.free_port()) as url:
        yield paths, url


@contextmanager
def _served(folder: Path) -> Iterator[tuple[Paths, str]]:
    with _server(folder) as (paths, url):
        os.environ["PREFECT_API_URL"] = url
        with _command(paths, "deploy"):
            until(lambda: deployment(url))
            yield paths, url


@contextmanager
def _command(paths: Paths, verb: str) -> Iterator[None]:
    with alone(paths.store / f"{verb}.json") as groups:
        log = paths.logs / f"{verb}.log"
        groups.start([sys.executable, "-m", "flows.cli", verb], cwd=paths.root, log=log)
        yield


def _project(root: Path) -> Paths:
    files = {"dvc.yaml": DAG, "params.yaml": "profile: demo\nseed: 0\n", "data/source.txt": "water\n"}
    files |= {"stages/first.py": FIRST, "stages/second.py": SECOND, "stages/third.py": THIRD}
    files |= {"mlflow/registry.yaml": REGISTRY.format(model="toy"), "infra/qanat.yaml": SETTINGS}
    for name, text in {**files, ".gitignore": ".work/\n.qanat/\n/data/annotations\n"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    os.environ.update({**own_environment(root / "mlflow.db"), "PREFECT_HOME": str(Paths(root).prefect_home)})
    git = (["git", "init", "-q"], ["dvc", "init", "-q"], ["git", "add", "-A"], ["git", "commit", "-qm", "x"])
    for command in git:
        subprocess.run(command, cwd=root, check=True, capture_output=True)
    paths = Paths(root)
    paths.annotations.mkdir()
    (paths.annotations / "a.jsonl").write_text("{}\n")
    return paths


def _stages_run(api: str, run: str) -> int:
    """As the run's log says at its end."""

    def told_outcomes() -> str | None:
        wanted = {"logs": {"flow_run_id": {"any_": [run]}}}
        lines = [row["message"] for row in httpx.post(f"{api}/logs/filter", json=wanted).json()]
        return next((line for line in lines if line.startswith("first ")), None)

    return str(until(told_outcomes)).count(" ran")


def _newest_run(paths: Paths) -> str | None:
    newest = read_newest(paths)
    return newest.flow_run_id if newest else None


def _running_since(api: str, run: str) -> float:
    """When it was first RUNNING, in seconds since 1970, as the server wrote it down."""
    from datetime import datetime

    def since() -> str | None:
        states = httpx.get(f"{api}/flow_run_states/", params={"flow_run_id": run}).json()
        times = [state["timestamp"] for state in states if state["type"] == "RUNNING"]
        return min(times, default=None)

    return datetime.fromisoformat(until(since)).timestamp()


MEASURES: dict[str, Callable[[Path], list[Row]]] = {
    "writers": writers,
    "trigger": trigger,
    "rerun": rerun,
    "overhead": overhead,
    "kill": kill,
    "stages": stages,
    "whole": whole,
    "lock": lock,
    "events": events,
    "twice": twice,
}

if __name__ == "__main__":
    main(sys.argv[1:])
