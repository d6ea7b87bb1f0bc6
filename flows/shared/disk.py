"""Room on the disk, looked at before work starts. Takes a folder and a bound; raises a fault that says what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

from flows.shared.faults import UserFault


class DiskFull(UserFault):
    """There is too little room for a stage."""


def require_room(folder: Path, *, gigabytes: float) -> None:
    """Raise `DiskFull` when less than that is free where `folder` lies."""
    free = shutil.disk_usage(folder).free / 1e9
    if free < gigabytes:
        raise DiskFull(
            f"{free:.1f} GB are free at {folder}, {gigabytes:g} GB are asked for (free_gigabytes in infra/qanat.yaml): "
            "`qanat gc` shows what can go"
        )
