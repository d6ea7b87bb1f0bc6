"""`qanat serve`: answers with whatever version is champion, on an address that OpenAI's clients understand.

Takes the project's paths; runs until SIGTERM or Ctrl-C, then lets answers under way end. Starts without a champion and
picks it up when there is one. Puts together what `components.serving` is made of; here, and only here, keys are read
from files and the environment.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import uvicorn

from components.serving.app import make_app
from components.serving.scrub import Scrub, scrub
from components.serving.service import Service
from components.serving.settings import ServeSettings
from components.serving.stock import Stock
from components.serving.surroundings import Surroundings
from components.tools.function_loading import load_function
from components.tools.function_tool import BadTool
from components.tools.prices import PriceSheet
from flows.shared.faults import UserFault
from flows.shared.following import Follower
from flows.shared.loading import Loader
from flows.shared.notices import tell
from flows.shared.operations import load_operations
from flows.shared.params import Params, check_params
from flows.shared.paths import Paths
from flows.shared.promoting import open_desk
from flows.shared.registry import Registry
from flows.shared.tools import make_importable

Say = Callable[[str], None]


class _Server(uvicorn.Server):
    """A server that turns newcomers away as soon as it is told to stop."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: object) -> None:
        self._service.admission.draining = True
        super().handle_exit(sig, frame)  # type: ignore[arg-type]


def serve(paths: Paths, *, say: Say, host: str | None = None, port: int | None = None) -> None:
    """Serve until this process is told to stop; `host` and `port` are by default those of infra/qanat.yaml."""
    operations, params = load_operations(paths), check_params(paths)
    settings = operations.serve if host is None else _at(operations.serve, host)
    keys = read_keys(paths, settings)
    desk, stock = open_desk(paths), Stock()
    loader = Loader(paths, params, settings, desk.registry, told=say)
    service = Service(
        desk.settings.model,
        stock,
        settings,
        _surroundings(paths, settings, params, desk.registry, say, lambda: follower),
        composite=params.tools.composite,
    )
    chosen = operations.ports.serve if port is None else port
    follower = Follower(
        desk,
        stock,
        settings,
        load=loader.load,
        clock=time.monotonic,
        say=say,
        server=f"{socket.gethostname()}:{chosen}",
        swapped=lambda well: service.metrics.swapped(well=well),
    )
    config = uvicorn.Config(
        make_app(service, keys=keys),
        host=settings.host,
        port=chosen,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
    )
    follower.start()
    try:
        _run(_Server(config, service))
    finally:
        follower.stop()
        stock.keep(())
        loader.close()
        service.traces.close(settings.drain_seconds)


def read_keys(paths: Paths, settings: ServeSettings) -> tuple[str, ...]:
    """The API keys that the settings name.

    Raises:
        UserFault: a place that is named holds none.
    """
    keys: list[str] = []
    if settings.keys_file is not None:
        file = paths.root / settings.keys_file
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        keys += _named(f"serve.keys_file {settings.keys_file}", lines)
    if settings.keys_variable is not None:
        words = os.environ.get(settings.keys_variable, "").replace(",", " ").split()
        keys += _named(f"serve.keys_variable {settings.keys_variable}", words)
    return tuple(keys)


def _named(place: str, lines: list[str]) -> list[str]:
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not keys:
        raise UserFault(f"infra/qanat.yaml: {place}: holds no keys")
    return keys


def _surroundings(
    paths: Paths,
    settings: ServeSettings,
    params: Params,
    registry: Registry,
    say: Say,
    follower: Callable[[], Follower],
) -> Surroundings:
    def canary_stopped(number: str, reason: str) -> None:
        follower().end_canary(number, reason, tell=lambda notice: tell(paths, notice))

    return Surroundings(
        clock=time.monotonic,
        now=lambda: datetime.now(UTC),
        new_id=lambda: uuid.uuid4().hex,
        fetch=lambda number: follower().fetch(number),
        canary_stopped=canary_stopped,
        log=paths.served_responses,
        scrub=_scrubber(paths, settings, params),
        units=PriceSheet(params.prices).units,
        trace=lambda number, span: registry.log_trace(registry.version(number).run_id, span),
        fault=say,
    )


def _scrubber(paths: Paths, settings: ServeSettings, params: Params) -> Scrub:
    if settings.scrub is None:
        return scrub
    make_importable(paths.root)
    try:
        return load_function(settings.scrub, folder=paths.own, packages=params.tools.own.packages)
    except BadTool as error:
        raise UserFault(f"infra/qanat.yaml: serve.scrub: {error}") from None


def _at(settings: ServeSettings, host: str) -> ServeSettings:
    try:
        return ServeSettings.model_validate({**settings.model_dump(), "host": host})
    except ValueError as error:
        raise UserFault(f"--host: {str(error).splitlines()[2].strip()}") from None


def _run(server: uvicorn.Server) -> None:
    """The server stops on the first signal, draining; uvicorn sends that signal again afterwards, which is no fault."""
    before = {one: signal.signal(one, signal.SIG_IGN) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        with contextlib.suppress(SystemExit):  # how uvicorn tells that it cannot listen
            server.run()
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    if not server.started:
        raise UserFault(f"port {server.config.port} of {server.config.host} cannot be listened on: is it taken?")
