"""One variant of an experiment: the DAG in a copy of the project, under other parameters and a seed.

Takes a variant; gives the folder with what it left (rows, trajectories, steps). Measures nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from components.experiments.plan import Variant
from components.records.atomic import write_json
from components.schema.identity import stable_hash
from flows.shared import graph, variant_archive
from flows.shared import progress as stage_progress
from flows.shared.environ import tracking_uri
from flows.shared.faults import UserFault
from flows.shared.git import read_commit
from flows.shared.machine import machine
from flows.shared.params import PROFILES
from flows.shared.paths import Paths
from flows.shared.process import Groups, alone

KEPT = (
    "data/reports/evaluation/rows.jsonl",
    "data/reports/evaluation/trajectories.jsonl",
    "data/reports/reinforce_steps.jsonl",
    "data/reports/trial/attempts.jsonl",
    "data/reports/trial/figures.json",
)
"""What is kept of a variant's project, where it exists."""
MADE = "made.json"
"""Where and of what code it was made."""
TRIAL = ("components", "flows")
"""Folders of code that decide what the trial leaves, which is no stage of the DAG and names no dependencies."""
READERS = "components/experiments"
"""What reads rows off results: the parameters that it names count by themselves."""
STAGE_OF = {"clone": "clone", "reinforced": "reinforce", "final": "distil"}
"""The stage that makes a model."""


class VariantFailed(UserFault):
    """A stage of a variant ended with an error; the message carries its last lines."""


def run(
    paths: Paths,
    variant: Variant,
    *,
    seed: int,
    profile: str,
    say: Callable[[str], None],
    shared: Path | None = None,
) -> Path:
    """The folder of what the variant left; made now unless it is there already, or in `shared`, where it is put."""
    params = parameters(paths, variant, seed=seed, profile=profile)
    key = key_of(paths, params, variant)
    folder = paths.variants / key
    if (folder / "done").is_file():
        say("  already made")
    elif shared is not None and variant_archive.unpack(shared, key, folder):
        say(f"  already made: {shared / key}.tar.xz")
    else:
        _make(paths, variant, params, folder, say)
    if shared is not None:
        variant_archive.pack(shared, key, folder)
    return folder


def _make(paths: Paths, variant: Variant, params: Mapping[str, Any], folder: Path, say: Callable[[str], None]) -> None:
    with alone(paths.variants / "run.json") as groups:
        project = copy_project(paths, folder / "project", params)
        for command in commands(project, variant):
            _step(command, project, paths, groups, say)
        for name in KEPT:
            if (project / name).is_file():
                shutil.copy(project / name, folder / Path(name).name)
        shutil.rmtree(project)
        write_json(folder / MADE, {"machine": machine(), "git_sha": read_commit(paths.root).sha})
        (folder / "done").touch()


def parameters(paths: Paths, variant: Variant, *, seed: int, profile: str) -> dict[str, Any]:
    """params.yaml as the variant has it."""
    values: dict[str, Any] = yaml.safe_load(paths.params.read_text(encoding="utf-8"))
    values |= {"profile": profile, "seed": seed}
    changes = {**variant.params, "evaluate.judged_model": variant.last, "evaluate.forced": variant.forced}
    for name, value in changes.items():
        section, key = name.split(".", 1)
        values[section] = {**(values.get(section) or {}), key: value}
    return values


def key_of(paths: Paths, params: Mapping[str, Any], variant: Variant) -> str:
    """Changes when the stages' code, annotations, parameters, seed, the last model or what is done with it change."""
    resolved = {name: _resolve(value, str(params["profile"])) for name, value in params.items()}
    return stable_hash([_read_by(paths, variant), resolved, variant.last, variant.trial], length=20)


def _resolve(value: Any, profile: str) -> Any:
    """Values for one profile, so that a change of another one does not matter."""
    if isinstance(value, dict) and value and set(value) <= set(PROFILES):
        return value[profile]
    return {key: _resolve(inner, profile) for key, inner in value.items()} if isinstance(value, dict) else value


def _read_by(paths: Paths, variant: Variant) -> list[tuple[str, str]]:
    """Tracked files that the stages read, and annotations, each with its hash: where DVC would make nothing again,
    neither is a variant."""
    places = (*graph.dependencies(paths.root), *(TRIAL if variant.trial else ()))
    files = [name for name in _tracked(paths.root) if any(_is_in(name, place) for place in places)]
    files = [name for name in files if not _is_in(name, READERS)]
    files += [str(file.relative_to(paths.root)) for file in sorted(paths.annotations.glob("*.jsonl"))]
    return [(name, hashlib.sha256((paths.root / name).read_bytes()).hexdigest()) for name in files]


def _is_in(name: str, place: str) -> bool:
    return name == place or name.startswith(f"{place}/")


def _tracked(root: Path) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=root, capture_output=True, text=True, check=True
    )
    return sorted(name for name in listed.stdout.split("\0") if name and (root / name).is_file())


def copy_project(paths: Paths, project: Path, params: Mapping[str, Any]) -> Path:
    """The working tree under the variant's parameters, a repository of its own with the same cache.

    A copy that a killed run left is used again: its stages go on with their checkpoints.
    """
    if (project / ".dvc" / "config.local").is_file():
        return project
    shutil.rmtree(project, ignore_errors=True)
    for name in _tracked(paths.root):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(paths.root / name, project / name)
    shutil.copytree(paths.annotations, project / "data" / "annotations", dirs_exist_ok=True)
    for library in (paths.root / "components" / "policy").glob("*.so"):
        shutil.copy(library, project / "components" / "policy" / library.name)
    (project / "params.yaml").write_text(yaml.safe_dump(dict(params), sort_keys=False), encoding="utf-8")
    author = ["-c", "user.name=qanat", "-c", "user.email=qanat@localhost"]
    for words in (["init", "-q"], ["add", "-A"], [*author, "commit", "-q", "-m", "variant"]):
        subprocess.run(["git", *words], cwd=project, capture_output=True, check=True)
    (project / ".work").mkdir(exist_ok=True)
    paths.plays.mkdir(parents=True, exist_ok=True)
    (project / ".work" / "plays").symlink_to(paths.plays)  # a model that variants share is played once
    cache = paths.root / ".dvc" / "cache"
    (project / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {cache}\n", encoding="utf-8")
    return project


def commands(project: Path, variant: Variant) -> list[list[str]]:
    """The stages up to the one that makes the last model, by DVC; then, on their own, the evaluation and the trial.

    `evaluate` depends on all models, so DVC would ask for those that the variant does without.
    """
    stages = list(graph.stage_names(project))
    wanted = stages[: stages.index(STAGE_OF[variant.last]) + 1]
    repro = [["dvc", "repro", "--single-item", stage] for stage in wanted]
    after = ("evaluate", "trial") if variant.trial else ("evaluate",)
    played = [[sys.executable, "-m", f"flows.stages.{stage}"] for stage in after]
    return [*_annotating(project, variant), *repro, *played]


def _annotating(project: Path, variant: Variant) -> list[list[str]]:
    """The seed set anew where the variant offers nested calls, for which it has demonstrations of its own."""
    seeded = (project / "data" / "annotations" / "seed.jsonl").is_file()
    nested = "tools.composite" in variant.params
    return [[sys.executable, "-m", "flows.cli", "annotations", "seed"]] if seeded and nested else []


def _step(command: Sequence[str], project: Path, paths: Paths, groups: Groups, say: Callable[[str], None]) -> None:
    env = {"QANAT_PROGRESS": "1", "PYTHONPATH": os.pathsep.join([str(project), os.environ.get("PYTHONPATH", "")])}
    env["MLFLOW_TRACKING_URI"] = tracking_uri(paths)
    process = groups.start(command, cwd=project, env=env)
    lines = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            told = stage_progress.parse(line.rstrip())
            if told is None:
                lines.append(line.rstrip())
            elif told.step >= told.total:
                say(f"  {stage_progress.sentence(told)}")
        status = process.wait()
    finally:
        groups.stop(process)
    if status != 0:
        raise VariantFailed("\n".join([f"{' '.join(command)} failed (status {status})", *lines[-20:]]))
