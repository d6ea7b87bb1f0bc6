"""Model folders, written whole or not at all. Takes a writer; gives the digest of the manifest. Loads nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from components.records.manifest import write_manifest


def write_model(folder: Path, write: Callable[[Path], None]) -> str:
    """Let `write` fill a folder beside `folder`, add the manifest, then rename it into place."""
    aside = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(aside, ignore_errors=True)
    write(aside)
    digest = write_manifest(aside)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(aside, folder)
    return digest
