"""`qanat images`: what is asked of the engine, and what is told where there is none."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from flows import images
from flows.images import IMAGES, build, make_secrets, tag
from flows.shared.faults import UserFault
from flows.shared.paths import Paths

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    for name in ("pyproject.toml", "infra/compose.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return Paths(tmp_path)


def test_without_an_engine_the_reason_is_told(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{paths.root}/no.sock")
    with pytest.raises(UserFault, match="no Docker engine answers"):
        build(paths, (), variant="cpu", arguments={}, say=print)


def test_an_image_that_there_is_not_is_told(paths: Paths) -> None:
    with pytest.raises(UserFault, match="must be of trainer, server, store, are bakery"):
        build(paths, ("bakery",), variant="cpu", arguments={}, say=print)


def test_a_worktree_has_no_history_to_put_into_an_image(paths: Paths, tmp_path: Path) -> None:
    (tmp_path / ".git").rename(tmp_path / "elsewhere")
    (tmp_path / ".git").write_text("gitdir: elsewhere\n")
    with pytest.raises(UserFault, match="main checkout"):
        build(paths, (), variant="cpu", arguments={}, say=print)


def test_tags_are_those_of_the_compose_file_and_the_gpu_overlay(paths: Paths) -> None:
    compose = (ROOT / "infra" / "compose.yaml").read_text()
    assert all(f"image: {tag(paths, image, 'cpu')}" in compose for image in IMAGES)
    cuda = [tag(paths, image, "cuda") for image in IMAGES]
    assert [name.endswith("-cuda") for name in cuda] == [True, True, False]


def test_every_dockerfile_and_stage_that_is_built_exists() -> None:
    for image in images.IMAGES:
        text = (ROOT / image.file).read_text()
        assert image.target is None or f"\nFROM runtime AS {image.target}\n" in text


def test_secrets_are_made_once_and_for_nobody_else(paths: Paths) -> None:
    assert make_secrets(paths) == ["postgres_password", "store_password", "serve_key"]
    folder = paths.root / "infra" / "secrets"
    before = {file.name: file.read_text() for file in folder.iterdir()}
    assert make_secrets(paths) == []
    assert {file.name: file.read_text() for file in folder.iterdir()} == before
    assert len(set(before.values())) == 3
    assert all(len(secret) >= 32 for secret in before.values())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
