"""The model server on one machine: against `transformers serve`, through promotions, under swaps, over time.

    python -m tests.benchmarks.serving [MEASURE ...]     throughput promotion swaps memory

Takes the model of the stage `base` (data/models/base; else it makes it in a scratch folder). Writes
results/serving.json. Every server is a process of its own; the client is OpenAI's. Registers in a scratch project.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import psutil
from openai import AsyncOpenAI, OpenAIError
from safetensors.torch import load_file, save_file

from components.records.jsonl import write_records
from components.records.manifest import MANIFEST, write_manifest
from components.tools.search_index import Passage
from flows.shared import by_hand
from flows.shared.paths import Paths
from flows.shared.prefect_server import free_port
from flows.shared.promoting import Desk, open_desk
from flows.shared.registry import DIGEST_TAG, Version
from tests.benchmarks.engine import base_folder
from tests.benchmarks.harness import Row, figure, told, write
from tests.flows.conftest import REPOSITORY, own_environment

OURS, THEIRS = "qanat", ("transformers serve", "transformers serve --continuous-batching")
NEW = 32
"""Tokens of an answer."""
CLIENTS = (1, 8, 32)
REQUESTS = {1: 8, 8: 24, 32: 64}
"""Requests of a measurement, by clients."""
ROUNDS = 3
SWAPS, SWAP_CLIENTS = 50, 16
MEMORY_REQUESTS, MEMORY_SWAPS = 10_000, 20
PLAIN = {"tool_choice": "none", "extra_body": {"server_tools": []}}
"""What makes our server do what the other one does: answer without tools."""
SETTINGS = """\
ports: {{serve: {port}}}
serve: {{poll_seconds: 0.2, spare: {spare}, limits: {{waiting: 256, seconds: 600}}}}
"""


def main(wanted: Sequence[str]) -> None:
    """Measure and write."""
    started = time.perf_counter()
    for name in wanted or MEASURES:
        told(f"== {name}")
        with tempfile.TemporaryDirectory() as folder:
            write("serving", MEASURES[name](Path(folder)), started=started)


# Throughput -----------------------------------------------------------------------------------------------------------


def throughput(folder: Path) -> list[Row]:
    """Requests a second and their times at 1, 8 and 32 clients: ours and `transformers serve`, in turn."""
    desk = _project(folder)
    _promote(desk, _register(desk, _base()))
    model = str(_base().resolve())
    seen: dict[tuple[str, int], list[tuple[float, list[float]]]] = {}
    with (
        _ours(desk) as url,
        _theirs(folder / "theirs.log", model) as other,
        _theirs(folder / "batching.log", model, "--continuous-batching") as batching,
    ):
        ways: dict[str, tuple[str, str, dict[str, Any]]] = {OURS: (url, desk.settings.model, PLAIN)}
        for who, address in zip(THEIRS, (other, batching), strict=True):
            ways[who] = (address, model, {})
        for who in list(ways):
            try:
                _timed(ways[who], clients=2, requests=4)
            except (AssertionError, OpenAIError) as error:  # continuous batching may want a GPU
                told(f"  {who} does not answer on this machine: {error!s:.200}")
                del ways[who]
        for turn in range(ROUNDS):
            for clients in CLIENTS:
                for who in list(ways)[:: 1 if turn % 2 == 0 else -1]:
                    timed = _timed(ways[who], clients=clients, requests=REQUESTS[clients])
                    seen.setdefault((who, clients), []).append(timed)
                    told(f"  round {turn + 1} of {ROUNDS}, {clients} clients, {who}: {timed[0]:.1f} s")
    return [row for clients in CLIENTS for row in _compared(seen, list(ways), clients)]


def _compared(
    seen: dict[tuple[str, int], list[tuple[float, list[float]]]], ways: Sequence[str], clients: int
) -> Iterator[Row]:
    """Each server's figures, and ours against the better of theirs."""
    rates: dict[str, list[float]] = {}
    middles: dict[str, list[float]] = {}
    for who in ways:
        rounds = seen[who, clients]
        rates[who] = [len(times) / wall for wall, times in rounds]
        middles[who] = [statistics.median(times) for _, times in rounds]
        yield figure(f"{clients:2d} clients, {who}: requests/s", rates[who], unit="1/s")
        yield figure(f"{clients:2d} clients, {who}: p50", middles[who], unit="s")
        yield figure(f"{clients:2d} clients, {who}: p95", [_p95(times) for _, times in rounds], unit="s")
    theirs = [who for who in ways if who != OURS]
    faster = [ours / max(rates[who][turn] for who in theirs) for turn, ours in enumerate(rates[OURS])]
    yield figure(f"{clients:2d} clients: requests/s against transformers serve", faster, unit="x",
                 bar=">= 3" if clients == 32 else None)  # fmt: skip
    slower = [ours / min(middles[who][turn] for who in theirs) for turn, ours in enumerate(middles[OURS])]
    yield figure(f"{clients:2d} clients: p50 against transformers serve", slower, unit="x",
                 bar="<= 1" if clients == 1 else None)  # fmt: skip


def _timed(way: tuple[str, str, dict[str, Any]], *, clients: int, requests: int) -> tuple[float, list[float]]:
    """Wall seconds of all requests, and of each."""
    url, model, more = way

    async def together() -> tuple[float, list[float]]:
        numbers, times = iter(range(requests)), list[float]()
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=600) as ai:

            async def one_client() -> None:
                for number in numbers:
                    began = time.perf_counter()
                    text = f"Write a long story about {number} wells in the desert, and who dug them."
                    answer = await ai.chat.completions.create(
                        model=model, messages=[{"role": "user", "content": text}], max_tokens=NEW, temperature=0, **more
                    )
                    assert answer.choices[0].message.content
                    times.append(time.perf_counter() - began)

            began = time.perf_counter()
            await asyncio.gather(*(one_client() for _ in range(clients)))
            return time.perf_counter() - began, times

    return asyncio.run(together())


# Promotions -----------------------------------------------------------------------------------------------------------


def promotion(folder: Path) -> list[Row]:
    """From `qanat promote` until the first answer of the new version, and the same of `qanat rollback`."""
    desk = _project(folder)
    first, second = _register(desk, _base()), _register(desk, _scaled(folder, 1.001))
    _promote(desk, first)
    there, back = [], []
    with _ours(desk) as url:
        _until_answered(url, desk.settings.model, first.number)
        for _ in range(3):
            began = time.perf_counter()
            by_hand.promote_version(desk, second.number, reason="benchmark", by="benchmark", force=True)
            _until_answered(url, desk.settings.model, second.number)
            there.append(time.perf_counter() - began)
            began = time.perf_counter()
            by_hand.rollback(desk, reason="benchmark", by="benchmark")
            _until_answered(url, desk.settings.model, first.number)
            back.append(time.perf_counter() - began)
    return [
        figure("promote to the first answer of the new version", there[:1], unit="s", bar="< 10"),
        figure("promote to the first answer, version still in memory", there[1:], unit="s"),
        figure("roll-back to the first answer of the old version", back, unit="s", bar="< 5"),
    ]


def _until_answered(url: str, model: str, number: str) -> None:
    while _answer(url, model)[0] != number:
        time.sleep(0.1)  # somebody who waits, not a load


def _answer(url: str, model: str, text: str = "2+2?") -> tuple[str, str]:
    """Version and text of a short answer."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 4, "tool_choice": "none"}
    got = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=600)
    got.raise_for_status()
    return got.headers["x-qanat-version"], str(got.json()["choices"][0]["message"]["content"])


# Swaps and memory -----------------------------------------------------------------------------------------------------


def swaps(folder: Path) -> list[Row]:
    """The alias moves 50 times between two versions, each loaded anew, while 16 clients ask."""
    desk = _project(folder, spare=0, dtype="float32")
    versions = [_register(desk, _base()), _register(desk, _other(folder))]
    _promote(desk, versions[0])
    texts = [f"What is {number} and {number}?" for number in range(SWAP_CLIENTS)]
    with _ours(desk) as url:
        model = desk.settings.model
        alone = {}
        for version in reversed(versions):
            _crown(desk, url, version)
            for text in texts:
                alone[version.number, text] = _answer(url, model, text)[1]
        seen = asyncio.run(_asked_while(url, model, texts, lambda: _swap(desk, url, versions, SWAPS)))
    failed = sum(version is None for version, _, _ in seen)
    mixed = sum(version is not None and alone[version, text] != said for version, text, said in seen)
    return [
        figure(f"{SWAPS} swaps under {SWAP_CLIENTS} clients: failed requests", [failed], unit="", bar="0"),
        figure(f"{SWAPS} swaps under {SWAP_CLIENTS} clients: answers of mixed versions", [mixed], unit="", bar="0"),
        figure(f"{SWAPS} swaps under {SWAP_CLIENTS} clients: requests", [len(seen)], unit=""),
    ]


def _swap(desk: Desk, url: str, versions: Sequence[Version], count: int) -> None:
    for number in range(count):
        _crown(desk, url, versions[(number + 1) % 2])
        told(f"  swap {number + 1}")


def _crown(desk: Desk, url: str, version: Version) -> None:
    """Move the alias, and wait until the server follows."""
    desk.registry.set_alias(desk.settings.aliases.champion, version.number)
    while httpx.get(f"{url}/readyz", timeout=600).json()["champion"]["version"] != version.number:
        time.sleep(0.1)


async def _asked_while(
    url: str, model: str, texts: Sequence[str], work: Callable[[], None]
) -> list[tuple[str | None, str, str]]:
    """Version (None: it failed), question and answer of every request until the work is done; one client a question."""
    seen: list[tuple[str | None, str, str]] = []
    doing = asyncio.create_task(asyncio.to_thread(work))
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=600) as ai:

        async def one_client(text: str) -> None:
            while not doing.done():
                try:
                    answer = await ai.chat.completions.create(
                        model=model, messages=[{"role": "user", "content": text}], max_tokens=4, tool_choice="none"
                    )
                    seen.append((answer.model.partition("@")[2], text, answer.choices[0].message.content or ""))
                except Exception as error:  # noqa: BLE001 - every failure counts
                    seen.append((None, text, str(error)))

        await asyncio.gather(*(one_client(text) for text in texts))
    await doing
    return seen


def memory(folder: Path) -> list[Row]:
    """Resident memory after 10,000 requests and 20 swaps, against that after the first 500 and 2."""
    desk = _project(folder, spare=0)
    versions = [_register(desk, _base()), _register(desk, _other(folder))]
    _promote(desk, versions[0])
    with _ours(desk) as url:
        (server,) = [p for p in psutil.process_iter() if _listens(p, int(url.rpartition(":")[2]))]
        _swap(desk, url, versions, 2)
        asyncio.run(_many(url, desk.settings.model, 500))
        before = server.memory_info().rss
        for _ in range(MEMORY_SWAPS // 2):
            asyncio.run(_many(url, desk.settings.model, MEMORY_REQUESTS // (MEMORY_SWAPS // 2)))
            _swap(desk, url, versions, 2)
            told(f"  {server.memory_info().rss / 2**20:.0f} MiB")
        after = server.memory_info().rss
    return [
        figure("resident memory after 500 requests and 2 swaps", [before / 2**20], unit="MiB"),
        figure(
            f"resident memory after {MEMORY_REQUESTS} more requests and {MEMORY_SWAPS} swaps: growth",
            [100 * (after - before) / before],
            unit="%",
            bar="<= 5",
        ),
    ]


async def _many(url: str, model: str, count: int) -> None:
    numbers = iter(range(count))
    async with httpx.AsyncClient(timeout=600, limits=httpx.Limits(max_connections=32)) as client:

        async def one_client() -> None:
            for number in numbers:
                text = f"What is {number} plus {time.perf_counter_ns() % 1000}?"
                body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 2}
                (
                    await client.post(f"{url}/v1/chat/completions", json={**body, "tool_choice": "none"})
                ).raise_for_status()

        await asyncio.gather(*(one_client() for _ in range(32)))


def _listens(process: psutil.Process, port: int) -> bool:
    try:
        return any(c.laddr.port == port and c.status == "LISTEN" for c in process.net_connections("tcp"))
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return False


# Projects and servers -------------------------------------------------------------------------------------------------


def _project(folder: Path, *, spare: int = 1, dtype: str = "bfloat16") -> Desk:
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
def _base() -> Path:
    """The base model; made once where there is none."""
    return base_folder()


def _register(desk: Desk, folder: Path) -> Version:
    digest = json.loads((folder / MANIFEST).read_text())["digest"] if (folder / MANIFEST).is_file() else None
    if digest is None:
        digest = write_manifest(folder)
    run_id = desk.registry.open_run("benchmark", run_id=None, tags={})
    return desk.registry.register(folder, run_id=run_id, tags={DIGEST_TAG: digest, "gate.decision": "promote"})


def _other(scratch: Path) -> Path:
    """The base model with a final norm that is turned round: as fast, and never of the same words."""
    return _scaled(scratch, -1.0)


def _scaled(scratch: Path, factor: float) -> Path:
    """The base model with its final norm times a factor: a little above 1, another digest that says the same."""
    folder = scratch / "other"
    shutil.copytree(_base(), folder)
    tensors = load_file(str(folder / "model.safetensors"))
    tensors["model.norm.weight"] = factor * tensors["model.norm.weight"]
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
    write_manifest(folder)
    return folder


def _promote(desk: Desk, version: Version) -> None:
    by_hand.promote_version(desk, version.number, reason="benchmark", by="benchmark", force=True)


@contextmanager
def _ours(desk: Desk) -> Iterator[str]:
    port = desk.paths.operations.read_text().split("serve: ")[1].split("}")[0]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "flows.cli", "serve"]
    with _process(command, desk.paths.root / "serve.log", cwd=desk.paths.root, ready=f"{url}/readyz"):
        yield url


@contextmanager
def _theirs(log: Path, folder: str, *options: str) -> Iterator[str]:
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
        while not _is_up(ready):
            if process.poll() is not None:
                raise SystemExit(f"{command} ended:\n{log.read_text()}")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(60)


def _is_up(url: str) -> bool:
    try:
        return httpx.get(url, timeout=30).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _p95(times: Sequence[float]) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]


MEASURES: dict[str, Callable[[Path], list[Row]]] = {
    "throughput": throughput,
    "promotion": promotion,
    "swaps": swaps,
    "memory": memory,
}

if __name__ == "__main__":
    main(sys.argv[1:])
