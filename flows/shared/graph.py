"""The offline DAG as DVC reads it from `dvc.yaml`.

Takes the project's root; gives stage names and what changed. Runs nothing.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flows.shared.faults import UserFault


@dataclass(frozen=True, slots=True)
class Changes:
    """Why a stage would run."""

    dependencies: Mapping[str, str]
    """Path, or `params.yaml: key`, to what happened to it (modified, deleted, new)."""
    outputs: Mapping[str, str]
    """Output path to what happened to it."""
    command: bool
    """True when the stage's command is not the one recorded."""

    @property
    def any(self) -> bool:
        """True when the stage would run."""
        return bool(self.dependencies or self.outputs or self.command)


@contextlib.contextmanager
def open_repo(root: Path) -> Iterator[Any]:
    """DVC's view of the project; what DVC refuses is a fault of the files, told in its words."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            yield repo
    except DvcException as error:
        raise UserFault(" ".join(str(error).split())) from None


def stage_names(root: Path) -> tuple[str, ...]:
    """Stages of the project's `dvc.yaml`, every one after the stages it depends on."""
    import networkx  # half a second that a stage, which only looks up its own definition, need not spend

    with open_repo(root) as repo:
        graph = networkx.DiGraph()
        for stage in repo.index.graph:
            graph.add_node(_label(stage))
            # DVC's edges go from a stage to what it depends on
            needed = repo.index.graph.successors(stage)
            graph.add_edges_from((_label(upstream), _label(stage)) for upstream in needed)
        listed = [_label(stage) for stage in repo.index.stages]
        runnable = {_label(stage) for stage in repo.index.stages if stage.cmd}
    order = networkx.lexicographical_topological_sort(graph, key=listed.index)
    return tuple(name for name in order if name in runnable)


def changed_stages(root: Path) -> dict[str, Changes]:
    """Stages that DVC would run now, with the reasons; one downstream of them is listed only if it changed itself."""
    return {name: changes for name, changes in _status(root, None).items() if changes.any}


def changes_of(root: Path, stage: str) -> Changes:
    """Reasons why DVC would run `stage` now; empty when it would not."""
    nothing = Changes(dependencies={}, outputs={}, command=False)
    return _status(root, [f"{root / 'dvc.yaml'}:{stage}"]).get(stage, nothing)


def is_changed_data(root: Path, file: Path) -> bool:
    """True when the data that a `.dvc` file tracks are not what it recorded."""
    return any(changes.any for changes in _status(root, [str(file)]).values())


def stage_definition(root: Path, stage: str) -> Mapping[str, Any]:
    """The stage's entry in `dvc.yaml`, its templates filled in from `params.yaml`; empty when there is none."""
    stages = _read(root / "dvc.yaml").get("stages") or {}
    name, _, key = stage.partition("@")
    definition, values = stages.get(name) or {}, _read(root / "params.yaml")
    if "foreach" in definition:
        list_name = definition["foreach"][2:-1]
        item = _lookup(f"{list_name}.{key}", values)
        definition, values = definition["do"], {**values, "key": key, "item": item}
    filled: Mapping[str, Any] = _filled(definition, values)
    return filled


def dependencies(root: Path) -> frozenset[str]:
    """What the stages of `dvc.yaml` read, files and folders."""
    stages = (_read(root / "dvc.yaml").get("stages") or {}).values()
    return frozenset(path for stage in stages for path in (stage.get("do") or stage).get("deps") or ())


def _read(file: Path) -> dict[str, Any]:
    return (yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None) or {}


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    """`${a.b}` replaced wherever it stands, as DVC does."""
    if isinstance(value, dict):
        return {name: _filled(inner, values) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, values) for inner in value]
    if isinstance(value, str):
        return re.sub(r"\$\{(.*?)\}", lambda found: str(_lookup(found[1], values)), value)
    return value


def _lookup(path: str, values: Any) -> Any:
    for name in path.strip().split("."):
        if not isinstance(values, dict) or name not in values:
            raise UserFault(f"params.yaml: {path.strip()}: is not there, and dvc.yaml asks for it")
        values = values[name]
    return values


def _status(root: Path, targets: list[str] | None) -> dict[str, Changes]:
    with open_repo(root) as repo:
        found = repo.status(targets=targets)
    # DVC names stages from the working directory, which need not be the root
    return {re.sub(r"^.*dvc\.yaml:", "", name): _changes(entries) for name, entries in found.items()}


def _label(stage: Any) -> str:
    """The name in `dvc.yaml`; for data that DVC tracks by itself, the `.dvc` file."""
    return str(getattr(stage, "name", None) or stage.addressing)


def _changes(entries: list[Any]) -> Changes:
    dependencies: dict[str, str] = {}
    outputs: dict[str, str] = {}
    command = False
    for entry in entries:
        if not isinstance(entry, dict):
            command = command or "command" in str(entry)
            continue
        for path, what in entry.get("changed deps", {}).items():
            if isinstance(what, dict):
                dependencies.update({f"{path}: {key}": state for key, state in what.items()})
            else:
                dependencies[path] = what
        outputs.update(entry.get("changed outs", {}))
    return Changes(dependencies=dependencies, outputs=outputs, command=command)
