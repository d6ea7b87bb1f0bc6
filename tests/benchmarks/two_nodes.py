"""A Ray cluster of two nodes on one machine, one of which is killed in the middle of each stage.

    python -m tests.benchmarks.two_nodes PROJECT STAGE...

Called by `tests.benchmarks.scale` in a network of its own, because such a Ray listens on all addresses. Prints a line
of JSON a stage: its wall seconds, and how many of its pieces were saved when the node was killed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from flows.shared.paths import Paths

HEAD, OTHER, PORT = "127.0.0.2", "127.0.0.3", 6379
PIECES = {"selfplay": ("*.parquet", 8), "evaluate": ("*.jsonl", 18)}
"""What a stage saves its pieces as, and after how many of them (about half) the node is killed."""
NAMESPACE = ("unshare", "--user", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
"""A network of its own, in which a Ray of two machines may listen on all addresses."""
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_agent_register_timeout_ms": "300000"}


def main(project: Path, stages: Sequence[str]) -> None:
    """Each stage on a cluster of its own."""
    os.environ.update(QUIET)
    for stage in stages:
        with ExitStack() as held:
            held.enter_context(node(project, "--head", f"--node-ip-address={HEAD}", f"--port={PORT}"))
            other = held.enter_context(node(project, f"--address={HEAD}:{PORT}", f"--node-ip-address={OTHER}"))
            print(json.dumps({"stage": stage, **_run(Paths(project), stage, other)}), flush=True)


@contextmanager
def node(project: Path, *options: str, processors: int = 1) -> Iterator[subprocess.Popen[bytes]]:
    """A node, and all that it starts; killed at the end."""
    ray = str(Path(sys.executable).with_name("ray"))
    command = [ray, "start", "--block", f"--num-cpus={processors}", "--object-store-memory=200000000", *options]
    with (project / "ray.log").open("ab") as log:
        node = subprocess.Popen(command, cwd=project, stdout=log, stderr=log, start_new_session=True)
    try:
        yield node
    finally:
        kill(node)


def kill(node: subprocess.Popen[bytes]) -> None:
    """As a machine ends that loses its power."""
    if node.poll() is None:
        for process in [*psutil.Process(node.pid).children(recursive=True), psutil.Process(node.pid)]:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        node.wait()


def _run(paths: Paths, stage: str, other: subprocess.Popen[bytes]) -> dict[str, float]:
    pattern, half = PIECES[stage]
    env = {**os.environ, "QANAT_PARALLEL": "ray", "QANAT_WORKERS": "2", "RAY_ADDRESS": f"{HEAD}:{PORT}"}
    _until_two(env)
    began = time.perf_counter()
    with (paths.root / f"{stage}.log").open("wb") as log:
        work = subprocess.Popen(
            [sys.executable, "-m", f"flows.stages.{stage}"], cwd=paths.root, env=env, stdout=log, stderr=log
        )
    saved = 0
    while saved < half and work.poll() is None:
        time.sleep(0.2)
        saved = len(list(paths.work(stage).glob(pattern)))
    early = work.poll() is not None
    kill(other)
    if early or work.wait() != 0:
        said = (paths.root / f"{stage}.log").read_text()[-3000:]
        sys.exit(f"{stage} ended {'before half of it was saved' if early else 'badly'} ({work.returncode}):\n{said}")
    return {"seconds": time.perf_counter() - began, "saved": saved}


def _until_two(env: dict[str, str], *, seconds: float = 120) -> None:
    """Until both nodes have joined."""
    count = "import ray; ray.init(log_to_driver=False); print(sum(n['Alive'] for n in ray.nodes()))"
    latest = time.monotonic() + seconds
    while True:
        done = subprocess.run([sys.executable, "-c", count], env=env, capture_output=True, text=True, check=False)
        if done.stdout.strip().endswith("2"):
            return
        if time.monotonic() > latest:
            sys.exit(f"only one node came up in {seconds:.0f} s:\n{done.stderr[-3000:]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
