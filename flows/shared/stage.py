"""The frame of a stage's entry point: everything that is the same for every stage.

    with stage_run("clone") as run:
        model, report = clone(..., settings=run.params.clone, seed=run.seed)

Takes the stage's name; gives parameters, seed, paths, a scratch folder, and verbs that tell progress and record figures
in MLflow. One copy of a stage runs at a time. A stage that was killed and started again with the same inputs goes on
with its scratch folder and its MLflow run; with other inputs it starts afresh. Faults of the user's input end with one
readable line. Does not compute anything and does not know Prefect or DVC's commands.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from components.records.jsonl import BadRecord
from components.records.manifest import BadModelFolder
from flows.shared import environ, inputs
from flows.shared import progress as stage_progress
from flows.shared.faults import UserFault
from flows.shared.git import Commit, read_commit
from flows.shared.params import Params, load_params
from flows.shared.paths import Paths, project
from flows.shared.registry import Registry
from flows.shared.registry_settings import load_registry_settings

if TYPE_CHECKING:
    from components.evaluation.spans import Span

FLOW_RUN = "QANAT_FLOW_RUN_ID"
"""Variable by which a flow tells its stages the id of its Prefect run."""
PROGRESS = "QANAT_PROGRESS"
"""Variable set by a flow that wants machine-readable progress lines."""


class StageBusy(UserFault):
    """Another copy of the stage is running."""


USER_FAULTS = (UserFault, BadRecord, BadModelFolder, OSError)
"""What a person can mend: told in one line. Anything else is a bug and keeps its stack trace."""


class StageRun:
    """What a stage may use while it runs."""

    def __init__(self, stage: str, paths: Paths, params: Params, registry: Registry | None, run_id: str) -> None:
        """`registry`: None in processes that compute for the stage but leave telling and recording to its first."""
        self.stage = stage
        self.paths = paths
        self.params = params
        self.seed = params.seed
        self.work = paths.work(stage)
        """Folder for checkpoints; kept when the stage is killed, emptied when it is done."""
        self.run_id = run_id
        self.lineage: dict[str, str] = {}
        """What `note` was told."""
        self._registry = registry
        self._step = 0

    @property
    def leads(self) -> bool:
        """True in the process that writes the stage's outputs."""
        return self._registry is not None

    def progress(self, step: float, total: float, rate: str = "", metrics: Mapping[str, float] | None = None) -> None:
        """Tell how far the stage is."""
        told = stage_progress.Progress(self.stage, step, total, rate, dict(metrics or {}))
        if not self.leads:
            return
        if os.environ.get(PROGRESS):
            print(stage_progress.render(told), flush=True)
        elif sys.stderr.isatty():
            print(
                f"\r\033[K{stage_progress.sentence(told)}",
                end="\n" if step >= total else "",
                file=sys.stderr,
                flush=True,
            )

    def say(self, text: str) -> None:
        """Print one line for a person."""
        if self.leads:
            print(text, flush=True)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record one point of each curve in MLflow; without `step` the points are numbered."""
        at = self._step if step is None else step
        self._step = at + 1
        if self._registry is not None:
            self._registry.log_metrics(self.run_id, metrics, at)

    def note(self, name: str, value: str) -> None:
        """Record what the outputs were made with, in `run_ref` and in MLflow."""
        self.lineage[name] = value
        if self._registry is not None:
            self._registry.log_params(self.run_id, {name: value})

    def log_artifact(self, path: Path) -> None:
        """Keep a copy of a file or folder with the MLflow run."""
        if self._registry is not None:
            self._registry.log_artifact(self.run_id, path)

    def log_trace(self, root: Span) -> None:
        """Keep a tree of spans with the MLflow run."""
        if self._registry is not None:
            self._registry.log_trace(self.run_id, root)

    def log_dataset(self, path: Path, context: str) -> None:
        """Record data that the stage read or wrote, under DVC's hash of it."""
        name = str(path.resolve().relative_to(self.paths.root))
        if self._registry is not None:
            self._registry.log_dataset(self.run_id, name=name, digest=inputs.dvc_hash(path), context=context)


@contextlib.contextmanager
def stage_run(stage: str, *, leads: bool = True) -> Iterator[StageRun]:
    """The frame; leaves the process with status 1 and one line on standard error when the input is at fault.

    Without `leads` the process only computes for another one, which is the stage: it takes no lock and records nothing.
    """
    try:
        paths = project()
        environ.prepare(paths)
        signal.signal(signal.SIGTERM, _leave)
        if not leads:
            yield StageRun(stage, paths, load_params(paths), None, "none")
            return
        with _lock(stage, paths):
            yield from _framed(stage, paths)
    except USER_FAULTS as error:
        for line in str(error).splitlines() or [type(error).__name__]:
            print(f"{stage}: {line}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None


def _framed(stage: str, paths: Paths) -> Iterator[StageRun]:
    params, settings, commit = load_params(paths), load_registry_settings(paths), read_commit(paths.root)
    used = inputs.read_inputs(paths, stage, params)
    before = _resume(paths.work(stage), used.fingerprint)
    registry = Registry(paths, experiment=settings.experiment, model=settings.model)
    run_id = registry.open_run(stage, run_id=before, tags=_tags(stage, params, commit))
    _write_json(paths.work(stage) / "run.json", {"run_id": run_id, "fingerprint": used.fingerprint})
    registry.log_params(run_id, used.params)
    for name, digest in used.data.items():
        registry.log_dataset(run_id, name=name, digest=digest, context=f"{stage} input")
    status = "FAILED"
    try:
        run = StageRun(stage, paths, params, registry, run_id)
        yield run
        _write_json(paths.run_ref(stage), {**_run_ref(stage, run_id, commit, params), **run.lineage})
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        registry.close_run(run_id, status=status)
    _empty(paths.work(stage))


def _resume(work: Path, fingerprint: str) -> str | None:
    """The MLflow run to go on with; the scratch folder is emptied first when it belongs to other inputs."""
    try:
        before: dict[str, str] = json.loads((work / "run.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        before = {}
    if before.get("fingerprint") == fingerprint:
        return before.get("run_id")
    _empty(work)
    return None


@contextlib.contextmanager
def _lock(stage: str, paths: Paths) -> Iterator[None]:
    work = paths.work(stage)
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise StageBusy(f"another copy of this stage is running (process {lock.read().strip() or '?'})") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _tags(stage: str, params: Params, commit: Commit) -> dict[str, str]:
    return {
        "stage": stage,
        "profile": params.profile,
        "seed": str(params.seed),
        "git.sha": commit.sha,
        "git.dirty": str(commit.dirty).lower(),
        "version": commit.version,
        "prefect.flow_run_id": os.environ.get(FLOW_RUN, "none"),
    }


def _run_ref(stage: str, run_id: str, commit: Commit, params: Params) -> dict[str, Any]:
    return {
        "stage": stage,
        "mlflow_run_id": run_id,
        "git_sha": commit.sha,
        "git_dirty": commit.dirty,
        "seed": params.seed,
        "profile": params.profile,
    }


def _empty(work: Path) -> None:
    for entry in work.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != "lock":
            entry.unlink()


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
