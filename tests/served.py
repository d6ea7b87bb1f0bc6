"""A model server for tests: the real app on a real socket, over small models. Takes versions; gives addresses.

The random model writes bytes that are seldom text, the leaning one makes calls and answers.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import uvicorn
from doubles import PASSAGES, cut_words
from openai import OpenAI
from tiny_models import byte_tokenizer, leaning_llama, tiny_llama, tokenizer

from components.evaluation.spans import Span
from components.policy.policy import Policy
from components.policy.settings import PolicySettings
from components.rollout.act import Manner
from components.serving.app import make_app
from components.serving.engine import LiveEngine
from components.serving.pricing import AtPrice
from components.serving.scrub import scrub
from components.serving.service import Service
from components.serving.settings import ServeSettings
from components.serving.stock import Routes, Served, Stock
from components.serving.surroundings import NoSuchVersion, Surroundings
from components.tools.prices import PriceSheet
from components.tools.search_index import SearchTool, build_index
from components.tools.spec import Tool, ToolOutput, ToolSpec, text_tool
from components.tools.toolbox import Toolbox

SETTINGS = PolicySettings(dtype="float32", slots=8, threads=1)


class HeldTool:
    """A tool that answers when it is let go."""

    def __init__(self) -> None:
        self.called, self.go = threading.Event(), threading.Event()
        self.version = "1"

    @property
    def spec(self) -> ToolSpec:
        return text_tool("python", "code", "Answers late.")

    def call(self, arguments: Mapping[str, Any]) -> ToolOutput:
        self.called.set()
        self.go.wait(30)
        return ToolOutput("4", False)


def toolbox(*more: Tool) -> Toolbox:
    """`search` over two countries, and `more`."""
    search = SearchTool(build_index(PASSAGES), engine="natural", k=1, cut=cut_words, result_tokens=40)
    return Toolbox((search, *more), PriceSheet(), time.monotonic)


def random_policy(seed: int = 0) -> Policy:
    """A model that writes bytes."""
    letters = byte_tokenizer()
    model = tiny_llama(seed, layers=1, vocabulary=len(letters), spread=0.4)
    return Policy(model, letters, SETTINGS, policy_id=f"random-{seed}")


@cache
def leaning_policy() -> Policy:
    """A model that calls search or answers."""
    return Policy(leaning_llama(), tokenizer(), SETTINGS, policy_id="leaning")


def version(
    number: str, policy: Policy, tools: Toolbox, *, at_price: AtPrice | None = None, levels: tuple[float, ...] = ()
) -> Served:
    """A loaded version; `levels`: the prices that it reads."""
    manner = Manner(levels=levels, usual_price=0.1)
    return Served(number, f"{int(number):064x}", policy, LiveEngine(policy, name=number), tools, at_price, manner)


class World:
    """A service with what is around it: what it was told is kept."""

    def __init__(self, folder: Path, *versions: Served, **settings: Any) -> None:
        self.stock, self.faults, self.stopped = Stock(), list[str](), list[tuple[str, str]]()
        self.traces: list[tuple[str, Span]] = []
        self.folder = folder
        for one in versions:
            self.stock.put(one)
        self.stock.routes = Routes(champion=versions[0].number if versions else None)
        around = Surroundings(
            clock=time.monotonic,
            now=lambda: datetime.now(UTC),
            new_id=lambda: uuid.uuid4().hex,
            fetch=self._fetch,
            canary_stopped=lambda number, reason: self.stopped.append((number, reason)),
            log=folder,
            scrub=scrub,
            units=PriceSheet().units,
            trace=lambda number, span: self.traces.append((number, span)),
            fault=self.faults.append,
        )
        self.service = Service("qanat", self.stock, ServeSettings(**settings), around)

    def _fetch(self, number: str) -> Future[None]:
        future: Future[None] = Future()
        future.set_exception(NoSuchVersion(number))
        return future


@contextlib.contextmanager
def listening(world: World, *, keys: tuple[str, ...] = ()) -> Iterator[str]:
    """The address of the app on a socket, for the time of a `with`."""
    config = uvicorn.Config(make_app(world.service, keys=keys), port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
        world.stock.keep(())


def client(url: str, **options: Any) -> OpenAI:
    """OpenAI's own client, which tries nothing twice."""
    return OpenAI(base_url=f"{url}/v1", **{"api_key": "none", "max_retries": 0, "timeout": 60, **options})


def wait_until(true: Callable[[], object], seconds: float = 60.0) -> None:
    """Look until it is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)
