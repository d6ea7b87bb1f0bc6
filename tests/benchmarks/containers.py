"""The container images: how large they are, and the whole job on a handful of problems inside one.

Takes a scratch folder; gives rows of results. Needs a Docker engine (DOCKER_HOST); QANAT_IMAGE_OPTIONS are further
words for `qanat images build`, such as `--base IMAGE --network host`. Called by `tests/benchmarks/scale.py`.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import docker

from components.experiments.plan import Measured as Row
from flows.images import IMAGES, tag
from flows.shared.paths import Paths
from tests.benchmarks.harness import figure, told
from tests.flows.conftest import REPOSITORY

BUILT = ("server", "trainer")
SMOKE = ("qanat", "run", "--profile", "smoke")


def images(folder: Path) -> list[Row]:
    """Build them from a fresh clone; then let the trainer's run everything with no network at all."""
    clone = folder / "clone"
    subprocess.run(["git", "clone", "-q", str(REPOSITORY), str(clone)], check=True)
    words = ["images", "build", *BUILT, *shlex.split(os.environ.get("QANAT_IMAGE_OPTIONS", ""))]
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "flows.cli", *words], cwd=clone, check=True)
    seconds = time.perf_counter() - began
    client, rows = docker.from_env(), [figure("images: built from a clone", [seconds], unit="s")]
    names = {image.name.removeprefix("qanat-"): tag(Paths(clone), image, "cpu") for image in IMAGES}
    for name in BUILT:
        size = client.images.get(names[name]).attrs["Size"] / 1e9
        rows.append(figure(f"images: size of the {name}'s", [size], unit="GB", bar="<= 2.5"))
    began = time.perf_counter()
    container = client.containers.run(names["trainer"], list(SMOKE), network_mode="none", detach=True)
    try:
        for line in container.logs(stream=True, follow=True):
            told("  " + line.decode(errors="replace").rstrip())
        status = int(container.wait()["StatusCode"])
    finally:
        container.remove(force=True)
    return [
        *rows,
        figure("images: the whole job of smoke inside the trainer's", [time.perf_counter() - began], unit="s"),
        figure("images: exit status of that job", [status], unit="", bar="0"),
    ]
