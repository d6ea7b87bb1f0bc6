"""Swaps: a request keeps its version to the end, none fails, and what is wanted no more goes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from served import HeldTool, World, client, leaning_policy, listening, random_policy, toolbox, version, wait_until

from components.serving.stock import Routes


def _said(url: str, seed: int, model: str = "qanat") -> tuple[str, str]:
    answer = client(url).chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "Hi"}],
        max_tokens=12,
        temperature=1.0,
        seed=seed,
        tool_choice="none",
    )
    return str(answer.system_fingerprint), str(answer.choices[0].message.content)


def test_swaps_under_load_fail_nobody_and_mix_no_versions(tmp_path: Path) -> None:
    tools, seeds = toolbox(), range(6)
    world = World(tmp_path, version("1", random_policy(1), tools), version("2", random_policy(2), tools))
    with listening(world) as url:
        expected = {_said(url, seed, f"qanat@{number}") for number in (1, 2) for seed in seeds}
        assert len({text for _, text in expected}) == 2 * len(seeds), "versions and seeds must be told apart"
        stop = threading.Event()

        def ask(worker: int) -> set[tuple[str, str]]:
            found = set[tuple[str, str]]()
            while not stop.is_set():
                found.add(_said(url, worker % len(seeds)))
            return found

        with ThreadPoolExecutor(6) as crowd:
            asked = [crowd.submit(ask, worker) for worker in range(6)]
            for swap in range(12):
                before = world.service.admission.inside
                number = str(2 - swap % 2)
                world.stock.put(version(number, random_policy(int(number)), tools))
                world.stock.routes = Routes(champion=number)
                world.stock.keep({number})
                lines = _lines(tmp_path)
                wait_until(lambda lines=lines, before=before: _lines(tmp_path) > lines + before)  # type: ignore[misc]
            stop.set()
            seen = set().union(*(one.result(60) for one in asked))
    assert seen <= expected
    assert {fingerprint for fingerprint, _ in seen} == {"qanat:1:000000000000", "qanat:2:000000000000"}


def _lines(folder: Path) -> int:
    return sum(len(file.read_bytes().splitlines()) for file in folder.glob("responses-*"))


def test_an_answer_under_way_keeps_its_version_which_is_closed_afterwards(tmp_path: Path) -> None:
    tool = HeldTool()
    old = version("1", leaning_policy(), toolbox(tool))
    world = World(tmp_path, old)
    closed = threading.Event()
    old.on_close = closed.set
    with listening(world) as url, ThreadPoolExecutor(1) as other:
        asked = other.submit(
            client(url).chat.completions.create,
            model="qanat",
            messages=[{"role": "user", "content": "2+2?"}],
            tool_choice={"type": "function", "function": {"name": "python"}},
        )
        assert tool.called.wait(60)
        world.stock.put(version("2", random_policy(), toolbox()))
        world.stock.routes = Routes(champion="2")
        world.stock.keep({"2"})
        assert _said(url, 0)[0] == "qanat:2:000000000000"
        assert not closed.is_set()
        tool.go.set()
        assert asked.result(60).system_fingerprint == "qanat:1:000000000000"
        assert closed.wait(60)
