"""Model folders that can prove they are whole: MANIFEST.json with the sha256 and size of every file.

Takes a folder; gives the digest of its content. `BadModelFolder` says in one line which file is missing, truncated,
changed or unlisted. Does not load models or parse anything but the header of safetensors files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.records.atomic import write_json
from components.schema.identity import stable_hash

MANIFEST = "MANIFEST.json"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
_LONGEST_HEADER = 100 * 2**20
"""Limit of the safetensors format itself."""


class BadModelFolder(ValueError):  # noqa: N818 - the name other houses catch
    """A model folder cannot be used; the message names the file and what is wrong with it."""


def write_manifest(folder: Path | str) -> str:
    """Lists every file of the folder in MANIFEST.json; gives the digest of the content."""
    root = Path(folder)
    files = {name: {"sha256": _sha256(root / name), "bytes": (root / name).stat().st_size} for name in _names(root)}
    digest = _digest(files)
    write_json(root / MANIFEST, {"files": files, "digest": digest})
    return digest


def verify_manifest(folder: Path | str) -> str:
    """The digest of the folder, after checking every file against MANIFEST.json; raises `BadModelFolder`."""
    root = Path(folder)
    manifest = read_manifest(root)
    files: Mapping[str, Any] = manifest["files"]
    for name, listed in files.items():
        _check_file(root, name, listed)
    unlisted = [name for name in _names(root) if name not in files]
    if unlisted:
        raise BadModelFolder(
            f"{root / unlisted[0]} is not listed in {MANIFEST}: it was added after the model was written"
        )
    if _digest(files) != manifest["digest"]:
        raise BadModelFolder(f"{root / MANIFEST} was changed: its digest does not fit its list of files")
    return str(manifest["digest"])


def read_manifest(folder: Path | str) -> dict[str, Any]:
    """The manifest as it was written, its shape checked; raises `BadModelFolder`."""
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise BadModelFolder(f"{path} is missing: this is not a model folder that Qanat wrote")
    manifest = _read_object(path)
    files, digest = manifest.get("files"), manifest.get("digest")
    rows = files.values() if isinstance(files, dict) else [None]
    if not isinstance(digest, str) or not all(
        isinstance(row, dict) and {"sha256", "bytes"} <= set(row) for row in rows
    ):
        raise BadModelFolder(f"{path} is damaged: it must hold `files` with sha256 and bytes, and `digest`")
    return manifest


def check_model_folder(folder: Path | str) -> None:
    """Raises `BadModelFolder` unless configuration and complete weights are there; hashes nothing."""
    root = Path(folder)
    if not root.is_dir():
        raise BadModelFolder(f"{root} is missing: there is no model folder")
    if not (root / "config.json").is_file():
        raise BadModelFolder(f"{root / 'config.json'} is missing: the model folder is not complete")
    for name in _weight_files(root):
        check_safetensors(root / name)


def check_safetensors(path: Path) -> None:
    """Raises `BadModelFolder` unless the file has exactly the bytes that its own header announces."""
    if not path.is_file():
        raise BadModelFolder(f"{path} is missing: the model has no weights")
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(size - 8, _LONGEST_HEADER):
            raise BadModelFolder(
                f"{path} is truncated or not a safetensors file: {size} bytes, its header does not fit"
            )
        header = stream.read(length)
    expected = 8 + length + _data_bytes(path, header)
    if size < expected:
        raise BadModelFolder(f"{path} is truncated: {size} of {expected} bytes are there")
    if size > expected:
        raise BadModelFolder(f"{path} is damaged: {size} bytes where its header announces {expected}")


def _data_bytes(path: Path, header: bytes) -> int:
    try:
        tensors = json.loads(header)
        return max((int(row["data_offsets"][1]) for name, row in tensors.items() if name != "__metadata__"), default=0)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise BadModelFolder(f"{path} is damaged: its safetensors header cannot be read") from None


def _weight_files(root: Path) -> list[str]:
    index = root / WEIGHTS_INDEX
    if not index.is_file():
        return [WEIGHTS]
    shards = _read_object(index).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise BadModelFolder(f"{index} is damaged: it has no weight_map")
    return sorted(set(shards.values()))


def _check_file(root: Path, name: str, listed: Mapping[str, Any]) -> None:
    path = root / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise BadModelFolder(f"{root / MANIFEST} lists {name!r}, which is outside the folder")
    if not path.is_file():
        raise BadModelFolder(f"{path} is missing")
    size = path.stat().st_size
    if size < listed["bytes"]:
        raise BadModelFolder(f"{path} is truncated: {size} of {listed['bytes']} bytes are there")
    if size != listed["bytes"] or _sha256(path) != listed["sha256"]:
        raise BadModelFolder(f"{path} was changed after the model was written: its sha256 is not the one in {MANIFEST}")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise BadModelFolder(f"{path} is damaged: it is not a JSON object")
    return value


def _names(root: Path) -> list[str]:
    """Every file below the folder but the manifest and temporary files of unfinished writes."""
    paths = (path for path in root.rglob("*") if path.is_file() and path.name != MANIFEST)
    return sorted(path.relative_to(root).as_posix() for path in paths if not path.name.endswith(".tmp"))


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest(files: Mapping[str, Any]) -> str:
    return stable_hash({name: row["sha256"] for name, row in files.items()}, length=64)
