"""What machine a figure was measured on, in one line. Takes nothing; reads nothing but /proc/cpuinfo."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_CPU = Path("/proc/cpuinfo")


def machine() -> str:
    """Cores, processor and Python."""
    lines = _CPU.read_text(encoding="utf-8").splitlines() if _CPU.is_file() else []
    models = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return f"{os.cpu_count()} cores, {next(models, platform.processor())}, Python {platform.python_version()}"
