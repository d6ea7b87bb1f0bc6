"""What a stage freed goes back to the system when it says so, though its C library is told to keep it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from flows.shared.process import COMPUTING

PROGRAM = """
import psutil
from flows.shared.memory import give_back
def megabytes():
    return psutil.Process().memory_info().rss >> 20
blocks = [bytearray(b"x" * 2**20) for _ in range(300)]
top = bytearray(b"x" * 2**20)  # the end of the heap is in use, so nothing goes back by itself
del blocks
kept = megabytes()
give_back()
print(kept, megabytes())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other C libraries")
def test_freed_memory_is_kept_until_it_is_given_back() -> None:
    env = {**os.environ, **COMPUTING, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True)
    kept, left = map(int, done.stdout.split())
    assert kept > 300
    assert left < kept - 250
