"""The container images: how large they are, the whole job on a handful of problems inside one, and a pool of them.

Takes a scratch folder; gives rows of results. Needs a Docker engine (DOCKER_HOST); QANAT_IMAGE_OPTIONS are further
words for `qanat images build`, such as `--base IMAGE --network host`. Called by `tests/benchmarks/scale.py`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import nan
from pathlib import Path

import docker

from components.experiments.plan import Measured as Row
from flows.images import IMAGES, tag
from flows.shared import prefect_server
from flows.shared.paths import Paths
from flows.shared.process import alone
from tests.benchmarks.harness import REPOSITORY, cloned, figure, told
from tests.benchmarks.prefect_runs import ask, end_of, server_at
from tests.flows.conftest import own_environment

BUILT = ("server", "trainer")
SMOKE = ("qanat", "run", "--profile", "smoke")


def images(folder: Path) -> list[Row]:
    """Build them from a fresh clone; then let the trainer's run everything with no network at all."""
    clone = cloned(folder / "clone")
    words = ["images", "build", *BUILT, *shlex.split(os.environ.get("QANAT_IMAGE_OPTIONS", ""))]
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "flows.cli", *words], cwd=clone, check=True)
    seconds = time.perf_counter() - began
    client, rows = docker.from_env(), [figure("images: built from a clone", [seconds], unit="s")]
    names = _names(Paths(clone))
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


def pool(folder: Path) -> list[Row]:
    """`retrain` asked of a Docker work pool twice: its flows run in the trainer's image, their volumes outlive them."""
    trainer = _names(Paths(REPOSITORY))["trainer"]
    if not docker.from_env().images.list(trainer):
        sys.exit(f"there is no image {trainer}: the measure `images` builds it")
    paths, tail = Paths(folder / "desk"), f"-{folder.name}"
    paths.root.mkdir()
    template = json.loads((REPOSITORY / "infra" / "docker" / "work-pool.json").read_text())
    properties = template["variables"]["properties"]
    # names of this benchmark's own, and no bridge: the server listens on loopback
    mounts = [volume.replace(":", f"{tail}:", 1) for volume in properties["volumes"]["default"]]
    properties["volumes"]["default"], properties["network_mode"]["default"] = mounts, "host"
    (paths.root / "pool.json").write_text(json.dumps(template))
    try:
        client = docker.from_env()
        seed = ["qanat", "annotations", "seed"]
        client.containers.run(trainer, seed, volumes=mounts, network_mode="none", remove=True)
        commit = client.containers.run(trainer, ["git", "rev-parse", "HEAD"], network_mode="none", remove=True)
        with _pool(paths, commit.decode().strip()[:12]) as api:
            first, second = _asked(api), _asked(api)
    finally:
        for mount in mounts:
            docker.from_env().volumes.get(mount.partition(":")[0]).remove(force=True)
    return [
        figure("a Docker work pool: retrains that ended well", [first.well + second.well], unit="runs", bar="2"),
        figure("a Docker work pool: retrain of smoke", [first.seconds], unit="s"),
        figure("a Docker work pool: the same again, unchanged", [second.seconds], unit="s"),
        figure(
            "a Docker work pool: stages run when unchanged",
            [nan if second.stages is None else second.stages],
            unit="stages",
            bar="0",
        ),
    ]


@dataclass(frozen=True, slots=True)
class Asked:
    """How one retrain of the pool ended."""

    well: bool
    seconds: float
    stages: int | None
    """How many ran, where its state says so."""


def _asked(api: str) -> Asked:
    began = time.perf_counter()
    state = end_of(api, ask(api, {"request": {"profile": "smoke", "promote": False}}), seconds=3600)
    seconds = time.perf_counter() - began
    told(f"  {state['type']} after {seconds:.0f} s: {state['message']}")
    counted = re.match(r"(\d+) stages ran", state["message"] or "")
    return Asked(state["type"] == "COMPLETED", seconds, int(counted[1]) if counted else None)


@contextmanager
def _pool(paths: Paths, version: str) -> Iterator[str]:
    """A Prefect server with the pool, the deployment of this version and a worker, on loopback."""
    os.environ["PREFECT_HOME"] = str(paths.prefect_home)
    prefect = str(Path(sys.executable).with_name("prefect"))
    with server_at(paths, prefect_server.free_port()) as api, alone(paths.store / "worker.json") as groups:
        own = own_environment(paths.root / "mlflow.db")
        told_by_deploy = {"QANAT_ROOT": "/project", "QANAT_VERSION": version}
        env = {**os.environ, **own, **told_by_deploy, "PREFECT_API_URL": api}
        made = f"work-pool create qanat --type docker --base-job-template {paths.root / 'pool.json'}"
        for words in (made, "--no-prompt deploy --name retrain --prefect-file infra/prefect.yaml"):
            subprocess.run([prefect, *words.split()], cwd=REPOSITORY, env=env, check=True)
        worker = [prefect, "worker", "start", "--pool", "qanat", "--type", "docker"]
        groups.start(worker, cwd=REPOSITORY, env=env, log=paths.root / "worker.log")
        yield api


def _names(paths: Paths) -> dict[str, str]:
    return {image.name.removeprefix("qanat-"): tag(paths, image, "cpu") for image in IMAGES}
