"""Dockerfiles: linted, without root, with pinned bases, and a context of what git tracks and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from docker.utils.build import exclude_paths
from infra_rules import dockerfile_faults, image_faults, target_faults

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = sorted((ROOT / "infra" / "docker").glob("*ockerfile"))
MAIN, STORE = ROOT / "infra" / "docker" / "Dockerfile", ROOT / "infra" / "docker" / "store.Dockerfile"
GOOD = MAIN.read_text(encoding="utf-8")


def _hadolint(file: Path) -> str:
    command = [str(Path(sys.executable).parent / "hadolint"), "--no-color", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_hadolint_finds_nothing(file: Path) -> None:
    assert _hadolint(file) == ""


def test_hadolint_would_find_a_fault(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM debian:latest\nRUN cd /tmp && sudo apt-get install git\n")
    assert "DL3007" in _hadolint(tmp_path / "Dockerfile")


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_every_base_is_an_argument_with_a_tag_that_stays(file: Path) -> None:
    assert dockerfile_faults(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(("file", "target"), [(MAIN, "trainer"), (MAIN, "server"), (STORE, "store")])
def test_every_image_is_without_root_and_says_whether_it_is_well(file: Path, target: str) -> None:
    assert target_faults(file.read_text(encoding="utf-8"), target) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("slim-bookworm", "latest", "no fixed tag"),
        ("FROM ${PYTHON_IMAGE} AS venv", "FROM python:3.11 AS venv", "not an ARG"),
    ],
)
def test_a_base_that_moves_is_told(old: str, new: str, fault: str) -> None:
    broken = GOOD.replace("3.11.11-slim-bookworm", "latest") if new == "latest" else GOOD.replace(old, new)
    assert any(fault in one for one in dockerfile_faults(broken))


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [(r"(?m)^USER .*$", "root"), (r"(?m)^HEALTHCHECK [^\n]*\\\n[^\n]*$", "HEALTHCHECK"), (r"(?m)^CMD .*$", "command")],
)
def test_an_image_that_lost_a_line_is_told(pattern: str, fault: str) -> None:
    assert any(fault in one for one in target_faults(re.sub(pattern, "", GOOD), "server"))


@pytest.mark.parametrize("image", ["python", "python:latest", "registry.example.org:5000/python"])
def test_an_image_without_a_fixed_tag_is_told(image: str) -> None:
    assert list(image_faults(image))


def test_the_context_holds_every_tracked_file_and_nothing_that_git_ignores(tmp_path: Path) -> None:
    for name in ("infra/secrets/postgres_password", ".qanat/mlflow.db", "data/models/base/model.safetensors", ".env"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in tracked:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    context = {name for name in exclude_paths(str(tmp_path), patterns) if (tmp_path / name).is_file()}
    assert context == set(tracked)


def test_secrets_become_variables_and_other_files_do_not(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "PGPASSWORD").write_text("two words\n")
    (secrets / "ca.crt").write_text("x")
    script = (ROOT / "infra/docker/with-secrets").read_text().replace("/run/secrets", str(secrets))
    command = ["sh", "-c", script, "with-secrets", "sh", "-c", 'echo "[$PGPASSWORD]"; env | grep -c crt']
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})
    assert done.stdout.split("\n")[:2] == ["[two words]", "0"]


def test_a_container_without_secrets_runs_its_command(tmp_path: Path) -> None:
    script = (ROOT / "infra/docker/with-secrets").read_text().replace("/run/secrets", str(tmp_path / "none"))
    done = subprocess.run(
        ["sh", "-c", script, "with-secrets", "echo", "ran"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "ran\n"


def test_images_install_an_extra_that_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(re.findall(r"optional-dependencies'\]\['(\w+)'\]", GOOD)) == {"cluster"} <= extras.keys()
