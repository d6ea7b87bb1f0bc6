"""States of all data and models that are still known, and what DVC's cache keeps of them.

Takes the project's paths; gives `dvc.lock` files as records, run references, lists of files. Writes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flows.shared.paths import Paths


@dataclass(frozen=True, slots=True)
class Lock:
    """A `dvc.lock`: one state of all data and models."""

    file: Path
    digest: str
    """sha256 of the file; versions carry it."""
    stages: Mapping[str, Any]

    def outs(self, stage: str) -> dict[str, str]:
        """Output path to hash."""
        return _hashes(self.stages[stage].get("outs", ()))

    def data(self, stage: str) -> dict[str, str]:
        """Path to hash of the data that the stage read."""
        return {path: md5 for path, md5 in _hashes(self.stages[stage].get("deps", ())).items() if _is_data(path)}

    def maker(self, path: str) -> str | None:
        """The stage that has this output."""
        return next((stage for stage in self.stages if path in self.outs(stage)), None)


def read_locks(paths: Paths) -> Iterator[Lock]:
    """Every `dvc.lock` that is known: the desk's, those of workspaces, and of workspaces that were removed."""
    files = [paths.dvc_lock, *sorted(paths.workspaces.glob("*/dvc.lock")), *sorted(paths.locks.glob("*.lock"))]
    seen = set()
    for file in files:
        if file.is_file():
            content = file.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            if digest not in seen:
                seen.add(digest)
                yield Lock(file, digest, (yaml.safe_load(content) or {}).get("stages") or {})


def read_reference(paths: Paths, lock: Lock, stage: str) -> dict[str, Any]:
    """The run reference among the stage's outputs, from beside the lock or DVC's cache; empty where it is gone."""
    for path, md5 in lock.outs(stage).items():
        if path.endswith(f"runs/{stage}.json"):
            for file in (cached(paths, md5), lock.file.parent / path, paths.root / path):
                if file.is_file() and md5_of(file) == md5:
                    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
                    return found
    return {}


def cached(paths: Paths, md5: str) -> Path:
    """Where DVC's cache keeps the object with this hash."""
    return paths.root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]


def listing(paths: Paths, md5: str) -> Iterator[tuple[str, str]]:
    """(path, md5) of the files in a folder that DVC's cache knows."""
    file = cached(paths, md5)
    if md5.endswith(".dir") and file.is_file():
        for row in json.loads(file.read_text(encoding="utf-8")):
            yield str(row["relpath"]), str(row["md5"])


def _hashes(rows: Any) -> dict[str, str]:
    return {str(row["path"]): str(row["md5"]) for row in rows if "md5" in row}


def _is_data(path: str) -> bool:
    return path.startswith("data/")


def md5_of(file: Path) -> str:
    """md5 of a file's content, as DVC takes it."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
