"""A run on a Ray cluster whose only machine ends in the middle of a stage, and comes back.

    python -m tests.benchmarks.lost_head PROJECT

Called by `tests.benchmarks.elsewhere` in a network of its own, because such a Ray listens on all addresses. Prints a
line of JSON: how many runs it took until one ended well, and what those said that did not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from flows.shared.paths import Paths
from tests.benchmarks.two_nodes import HEAD, PIECES, PORT, QUIET, kill, node

STAGE = "evaluate"
MOST_RUNS = 4


def main(project: Path) -> None:
    """Runs of smoke until one ends well."""
    os.environ.update(QUIET)
    env = {**os.environ, "QANAT_PARALLEL": "ray", "QANAT_WORKERS": "2", "RAY_ADDRESS": f"{HEAD}:{PORT}"}
    options = ("--head", f"--node-ip-address={HEAD}", f"--port={PORT}")
    paths, said = Paths(project), []
    with ExitStack() as held:
        head = held.enter_context(node(project, *options, processors=2))
        for _ in range(MOST_RUNS):
            run = _begun(paths, env)
            if head is not None:
                _until_saved(paths, run)
                kill(head)
                time.sleep(5)  # as long as a small machine needs at least
                held.enter_context(node(project, *options, processors=2))
                head = None
            if run.wait() == 0:
                break
            said.append((project / "run.log").read_text(errors="replace").splitlines()[-8:])
    print(json.dumps({"runs": len(said) + 1, "said": said}), flush=True)


def _begun(paths: Paths, env: dict[str, str]) -> subprocess.Popen[bytes]:
    with (paths.root / "run.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "run", "--profile", "smoke"],
            cwd=paths.root, env=env, stdout=log, stderr=log,
        )  # fmt: skip


def _until_saved(paths: Paths, run: subprocess.Popen[bytes]) -> None:
    """Until the stage has saved a piece."""
    pattern, _ = PIECES[STAGE]
    while not list(paths.work(STAGE).glob(pattern)):
        if run.poll() is not None:
            sys.exit(f"the run ended before {STAGE} had saved a piece:\n{(paths.root / 'run.log').read_text()[-2000:]}")
        time.sleep(0.1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
