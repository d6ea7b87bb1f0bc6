"""One retrain at a time; of those that wait the newest is kept; a killed owner blocks nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows.shared.disk import DiskFull, require_room
from flows.shared.turns import TurnTaken, sole_turn, turn

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """\
import sys, time
from pathlib import Path
from flows.shared.turns import turn
print("asks", flush=True)
with turn(Path(sys.argv[1]), sys.argv[2]) as mine:
    print(mine, flush=True)
    sys.stdin.read()
"""


def _holder(folder: Path, ticket: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), ticket],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_the_newest_that_waits_supersedes_the_others_and_gets_the_turn_of_a_killed_owner(tmp_path: Path) -> None:
    first = _holder(tmp_path, "first")
    assert [_line(first), _line(first)] == ["asks", "True"]
    with pytest.raises(TurnTaken, match="under way"), sole_turn(tmp_path):
        pass
    second = _holder(tmp_path, "second")
    assert _line(second) == "asks"
    while (tmp_path / "waiting").read_text() != "second":
        pass
    third = _holder(tmp_path, "third")
    assert _line(third) == "asks"
    assert _line(second) == "False"
    first.send_signal(signal.SIGKILL)
    assert _line(third) == "True"
    for process in (first, second, third):
        process.communicate()
    with sole_turn(tmp_path), pytest.raises(TurnTaken), sole_turn(tmp_path):
        pass
    with turn(tmp_path, "fourth") as mine:
        assert mine


def test_too_little_room_is_told_with_what_to_do(tmp_path: Path) -> None:
    require_room(tmp_path, gigabytes=0)
    with pytest.raises(DiskFull, match=r"GB are free at .*, 1e\+09 GB are asked for .*`qanat gc`"):
        require_room(tmp_path, gigabytes=1e9)
