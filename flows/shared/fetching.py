"""A version's payload on this machine, proven to be the one that was registered.

Takes a version; gives a folder named by its digest, a copy of the server's own: what happens to the store afterwards
does not touch a model that is being served. Loads nothing.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

from components.records.manifest import BadModelFolder, check_model_folder, verify_manifest
from flows.shared.paths import Paths
from flows.shared.registry import DIGEST_TAG, Registry, Version

_DIGEST = re.compile(r"[0-9a-f]{16,64}")


def fetched(paths: Paths, registry: Registry, version: Version) -> Path:
    """The folder of the version's payload, verified.

    Raises:
        BadModelFolder: the version carries no digest, or its files are not those that were registered.
    """
    if not _DIGEST.fullmatch(version.digest):
        raise BadModelFolder(f"version {version.number} carries no digest (tag {DIGEST_TAG}): its files prove nothing")
    kept = paths.served_models / version.digest
    if not (kept.is_dir() and _is_right(kept, version)):
        shutil.rmtree(kept, ignore_errors=True)
        paths.served_models.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=paths.served_models) as aside:
            folder = registry.fetch(version, Path(aside))
            _verify(folder, version)
            folder.replace(kept)
    return kept


def forget_others(paths: Paths, digests: Collection[str]) -> None:
    """Remove copies of other versions, and what an interrupted fetch left."""
    for folder in paths.served_models.glob("*") if paths.served_models.is_dir() else ():
        if folder.name not in digests:
            shutil.rmtree(folder, ignore_errors=True)
    for folder in paths.served_models.glob(".fetch-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _is_right(folder: Path, version: Version) -> bool:
    try:
        _verify(folder, version)
    except BadModelFolder:
        return False
    return True


def _verify(folder: Path, version: Version) -> None:
    digest = verify_manifest(folder)
    if digest != version.digest:
        raise BadModelFolder(
            f"version {version.number} was registered with payload {version.digest[:12]}, but its files are those of "
            f"{digest[:12]}: they were swapped"
        )
    check_model_folder(folder)
