"""Writes are all or nothing."""

import errno
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from doubles import full_disk

from components.records.atomic import WriteFailed, write_json, write_lines, write_text


def test_a_write_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "a long first version")
    write_text(path, "é\n")
    assert path.read_bytes() == "é\n".encode()
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_lines_and_json_end_with_a_newline(tmp_path: Path) -> None:
    write_lines(tmp_path / "a", ["x", "y"])
    write_json(tmp_path / "b", {"k": "ü"})
    assert (tmp_path / "a").read_text() == "x\ny\n"
    assert (tmp_path / "b").read_text(encoding="utf-8").endswith("}\n")
    assert json.loads((tmp_path / "b").read_text(encoding="utf-8")) == {"k": "ü"}


def test_a_full_disk_keeps_the_old_file_and_names_the_path(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    write_text(path, "old\n")
    with pytest.raises(WriteFailed, match=r"records\.jsonl.*No space left.*old file is unchanged") as caught:
        write_lines(path, (f"line {i}" for i in range(1000)), opener=full_disk(room=500))
    assert caught.value.errno == errno.ENOSPC
    assert path.read_text() == "old\n"
    assert [p.name for p in tmp_path.iterdir()] == ["records.jsonl"]


def test_a_full_disk_leaves_nothing_where_nothing_was(tmp_path: Path) -> None:
    with pytest.raises(WriteFailed, match="nothing was written"):
        write_text(tmp_path / "new", "text", opener=full_disk())
    assert list(tmp_path.iterdir()) == []


def test_a_real_full_disk_is_the_same_error(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a tiny file system")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("this root cannot mount")
    try:
        write_text(tmp_path / "file", "old")
        with pytest.raises(WriteFailed, match=r"file: No space left on device; the old file is unchanged"):
            write_text(tmp_path / "file", "x" * 200_000)
        assert (tmp_path / "file").read_text() == "old"
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_generator_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old")
    with pytest.raises(ZeroDivisionError):
        write_lines(tmp_path / "file", (str(1 // i) for i in (1, 0)))
    assert (tmp_path / "file").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1
