"""Finished variants of experiments in a folder that machines or checkouts share: one archive a variant.

Takes a variant's key and its folder; packs or unpacks it. The key tells code, data, parameters and seed, so that what
another machine left is what this one would have to make. Runs nothing.
"""

from __future__ import annotations

import io
import lzma
import os
import tarfile
import tempfile
from pathlib import Path

from components.records.atomic import flush_folder
from flows.shared.faults import UserFault


def pack(shared: Path, key: str, folder: Path) -> Path:
    """Put the files of `folder` into the archive; the same files give the same bytes. Kept as it is if it is there."""
    archive = _archive(shared, key)
    if archive.is_file():
        return archive
    shared.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=shared, prefix=f".{key}.", delete=False) as stream:
        written = Path(stream.name)
        try:
            with lzma.open(stream, "wb") as squeezed, tarfile.open(fileobj=squeezed, mode="w") as tar:
                for file in sorted(folder.iterdir()):
                    _add(tar, file)
            stream.flush()
            os.fsync(stream.fileno())
            written.chmod(0o644)
            written.replace(archive)
        except BaseException:  # killed or no room: no half archive stays, and the error goes on
            written.unlink(missing_ok=True)
            raise
    flush_folder(shared)
    return archive


def unpack(shared: Path, key: str, folder: Path) -> bool:
    """Lay the archive's files into `folder`, if there is one; gives whether there was.

    Raises:
        UserFault: the archive cannot be read.
    """
    archive = _archive(shared, key)
    if not archive.is_file():
        return False
    try:
        with tarfile.open(archive, "r:xz") as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise UserFault(f"{archive} is damaged ({error}): remove it, and the variant is run anew") from None
    return True


def _archive(shared: Path, key: str) -> Path:
    return shared / f"{key}.tar.xz"


def _add(tar: tarfile.TarFile, file: Path) -> None:
    content, entry = file.read_bytes(), tarfile.TarInfo(file.name)
    entry.size, entry.mode = len(content), 0o644
    tar.addfile(entry, io.BytesIO(content))
