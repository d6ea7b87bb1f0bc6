"""Model servers to measure: ours in a scratch project with a registry of its own, and `transformers serve`.

Takes folders of models; gives addresses of servers that are ready, each a process of its own, ended with the `with`.
Called by `tests/benchmarks/serving.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from safetensors.torch import load_file, save_file

from components.records.jsonl import write_records
from components.records.manifest import MANIFEST, write_manifest
from components.tools.search_index import Passage
from flows.shared import by_hand
from flows.shared.paths import Paths
from flows.shared.prefect_server import answers, free_port
from flows.shared.promoting import Desk, open_desk
from flows.shared.registry import DIGEST_TAG, Version
from tests.benchmarks.engine import base_folder
from tests.flows.conftest import REPOSITORY, own_environment

SETTINGS = """\
ports: {{serve: {port}}}
serve: {{poll_seconds: 0.2, spare: {spare}, limits: {{waiting: 256, seconds: 600}}}}
"""


def project(folder: Path, *, spare: int = 1, dtype: str = "bfloat16") -> Desk:
    """A scratch project with a registry of its own and a corpus of one page."""
    for name, value in own_environment(folder / "mlflow.db").items():
        os.environ[name] = value
    paths = Paths(folder)
    texts = {
        paths.dag: "stages: {}\n",
        paths.params: f"profile: demo\nseed: 0\npolicy: {{dtype: {dtype}}}\n",
        paths.registry: "model: qanat\nrequired_tags: []\n",
        paths.operations: SETTINGS.format(port=free_port(), spare=spare),
    }
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    write_records(paths.passages, [Passage("p1", "Chad", "a page", "The capital of Chad is N'Djamena.", False)])
    return open_desk(paths)


@cache
def base_model() -> Path:
    """The base model; made once where there is none."""
    return base_folder()


def register(desk: Desk, folder: Path) -> Version:
    digest = json.loads((folder / MANIFEST).read_text())["digest"] if (folder / MANIFEST).is_file() else None
    if digest is None:
        digest = write_manifest(folder)
    run_id = desk.registry.open_run("benchmark", run_id=None, tags={})
    return desk.registry.register(folder, run_id=run_id, tags={DIGEST_TAG: digest, "gate.decision": "promote"})


def other_model(scratch: Path) -> Path:
    """The base model with a final norm that is turned round: as fast, and never of the same words."""
    return scaled(scratch, -1.0)


def scaled(scratch: Path, factor: float) -> Path:
    """The base model with its final norm times a factor: a little above 1, another digest that says the same."""
    folder = scratch / "other"
    shutil.copytree(base_model(), folder)
    tensors = load_file(str(folder / "model.safetensors"))
    tensors["model.norm.weight"] = factor * tensors["model.norm.weight"]
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
    write_manifest(folder)
    return folder


def promote(desk: Desk, version: Version) -> None:
    by_hand.promote_version(desk, version.number, reason="benchmark", by="benchmark", force=True)


@contextmanager
def our_server(desk: Desk) -> Iterator[str]:
    port = desk.paths.operations.read_text().split("serve: ")[1].split("}")[0]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "flows.cli", "serve"]
    with _process(command, desk.paths.root / "serve.log", cwd=desk.paths.root, ready=f"{url}/readyz"):
        yield url


@contextmanager
def transformers_server(log: Path, folder: str, *options: str) -> Iterator[str]:
    """`transformers serve` with the model in `folder`."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    transformers = str(Path(sys.executable).with_name("transformers"))
    command = [transformers, "serve", folder, "--host", "127.0.0.1", "--port", str(port), "--dtype", "bfloat16"]
    with _process([*command, *options], log, cwd=REPOSITORY, ready=f"{url}/health"):
        yield url


@contextmanager
def _process(command: Sequence[str], log: Path, *, cwd: Path, ready: str) -> Iterator[None]:
    with log.open("w") as stream:
        process = subprocess.Popen(list(command), cwd=cwd, stdout=stream, stderr=subprocess.STDOUT)
    try:
        while not answers(ready):
            if process.poll() is not None:
                raise SystemExit(f"{command} ended:\n{log.read_text()}")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(60)
