"""The model server on one machine: against `transformers serve`, through promotions, under swaps, over time.

    python -m tests.benchmarks.serving [MEASURE ...]     throughput promotion swaps memory

Takes the model of the stage `base` (data/models/base; else it makes it in a scratch folder). Writes
results/serving.json. Every server is a process of its own; the client is OpenAI's. Registers in a scratch project.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil
from openai import AsyncOpenAI, OpenAIError

from flows.shared import by_hand
from flows.shared.promoting import Desk
from flows.shared.registry import Version
from tests.benchmarks.harness import Row, figure, measure, told
from tests.benchmarks.model_servers import (
    base_model,
    other_model,
    our_server,
    project,
    promote,
    register,
    scaled,
    transformers_server,
)

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


def main(wanted: Sequence[str]) -> None:
    """Measure and write."""
    measure("serving", MEASURES, wanted)


# Throughput -----------------------------------------------------------------------------------------------------------


def throughput(folder: Path) -> list[Row]:
    """Requests a second and their times at 1, 8 and 32 clients: ours and `transformers serve`, in turn."""
    desk = project(folder)
    promote(desk, register(desk, base_model()))
    model = str(base_model().resolve())
    seen: dict[tuple[str, int], list[tuple[float, list[float]]]] = {}
    with (
        our_server(desk) as url,
        transformers_server(folder / "theirs.log", model) as other,
        transformers_server(folder / "batching.log", model, "--continuous-batching") as batching,
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
    desk = project(folder)
    first, second = register(desk, base_model()), register(desk, scaled(folder, 1.001))
    promote(desk, first)
    there, back = [], []
    with our_server(desk) as url:
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
    desk = project(folder, spare=0, dtype="float32")
    versions = [register(desk, base_model()), register(desk, other_model(folder))]
    promote(desk, versions[0])
    texts = [f"What is {number} and {number}?" for number in range(SWAP_CLIENTS)]
    with our_server(desk) as url:
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
    desk = project(folder, spare=0)
    versions = [register(desk, base_model()), register(desk, other_model(folder))]
    promote(desk, versions[0])
    with our_server(desk) as url:
        (server,) = [p for p in psutil.process_iter() if _listens(p, int(url.rpartition(":")[2]))]
        _swap(desk, url, versions, 2)
        asyncio.run(_many(url, desk.settings.model, 500))
        before = server.memory_info().rss
        for _ in range(MEMORY_SWAPS // 2):  # looked at after requests each time: a swap itself holds two models
            _swap(desk, url, versions, 2)
            asyncio.run(_many(url, desk.settings.model, MEMORY_REQUESTS // (MEMORY_SWAPS // 2)))
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
