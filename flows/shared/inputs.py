"""What a stage reads, by content: so that a killed stage knows whether its checkpoints are still about the same work.

Takes the stage's entry in `dvc.yaml`; gives hashes of its data and code and its parameters as text. Does not run
anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.schema.identity import stable_hash
from flows.shared.graph import stage_definition
from flows.shared.params import Params
from flows.shared.paths import Paths


@dataclass(frozen=True, slots=True)
class StageInputs:
    """Inputs of one stage."""

    params: Mapping[str, str]
    """Resolved values, `section.key` to text."""
    data: Mapping[str, str]
    """Path below `data/` to the hash DVC knows it by."""
    fingerprint: str
    """Changes when any dependency or parameter changes."""


def read_inputs(paths: Paths, stage: str, params: Params) -> StageInputs:
    """Inputs of `stage` as they are now."""
    sections = tuple(name for name in stage_definition(paths.root, stage).get("params", ()) if isinstance(name, str))
    values = {**params.raw(sections), "profile": params.profile, "seed": params.seed}
    contents = hashes(paths, stage)
    return StageInputs(
        params=dict(_flat(values)),
        data={dep: found for dep, found in contents.items() if dep.startswith("data/")},
        fingerprint=stable_hash([values, contents], length=32),
    )


def hashes(paths: Paths, stage: str) -> dict[str, str]:
    """Everything that `stage` depends on, by path, as DVC hashes it."""
    return {str(dep): dvc_hash(paths.root / dep) for dep in stage_definition(paths.root, stage).get("deps", ())}


def dvc_hash(path: Path) -> str:
    """The hash DVC gives this file or folder: md5 of the content, or of the sorted list of the files' md5s."""
    if path.is_file():
        return _md5(path)
    files = sorted(file for file in path.rglob("*") if file.is_file() and not _ignored(file))
    rows = [{"md5": _md5(file), "relpath": file.relative_to(path).as_posix()} for file in files]
    listing = json.dumps(sorted(rows, key=lambda row: row["relpath"]), sort_keys=True)
    return hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest() + ".dir"


def _md5(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _ignored(file: Path) -> bool:
    return "__pycache__" in file.parts or file.name == ".gitignore"


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    elif value is not None and value != {}:
        yield key, value if isinstance(value, str) else json.dumps(value)
