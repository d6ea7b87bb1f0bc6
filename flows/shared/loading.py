"""A version made ready to answer: fetched, verified, loaded, with its tools and heads, and past its golden prompts.

Takes a version; gives it as the server holds it. Tools are opened once for all versions with the same tokenizer, for
opening them takes longer than loading a small model. Decides nothing about who is served.
"""

from __future__ import annotations

import contextlib
import gc
import time
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path

from components.policy.backend import Backend
from components.policy.heads import read_q, read_values
from components.policy.load import open_backend
from components.policy.policy import Policy
from components.policy.told_price import read_levels
from components.records.manifest import read_manifest
from components.rollout.act import Manner
from components.serving.engine import Engine, LiveEngine, RemoteEngine
from components.serving.golden import check_golden
from components.serving.pricing import AtPrice, by_value
from components.serving.settings import ServeSettings
from components.serving.stock import Served
from components.tools.prices import PriceSheet
from components.tools.toolbox import Toolbox
from flows.shared.fetching import fetched
from flows.shared.memory import give_back
from flows.shared.params import Params
from flows.shared.paths import Paths
from flows.shared.registry import Registry, Version
from flows.shared.registry_settings import load_registry_settings
from flows.shared.signatures import require_signature
from flows.shared.tools import open_tools

PATIENCE = 10
"""How often a closed version is looked for before its memory is given up."""


class Loader:
    """Loads versions, one at a time."""

    def __init__(
        self, paths: Paths, params: Params, settings: ServeSettings, registry: Registry, *, told: Callable[[str], None]
    ) -> None:
        """`told` hears of failures of a model while it serves."""
        self._paths, self._params, self._settings, self._registry = paths, params, settings, registry
        self._told, self._trust = told, load_registry_settings(paths)
        self._toolboxes: dict[str, Toolbox] = {}
        self._open = contextlib.ExitStack()

    def load(self, version: Version) -> Served:
        """The version, ready.

        Raises:
            Exception: whatever is wrong with its files, its weights or its answers.
        """
        require_signature(version, self._trust)
        folder = fetched(self._paths, self._registry, version)
        slots = self._settings.limits.concurrent
        how = self._params.policy.model_copy(update={"slots": slots, "kept_tokens": 0})
        backend = open_backend(folder, how, policy_id=version.digest)
        if isinstance(backend, Policy):
            backend.warm()
        engine = self._engine(backend, version)
        try:
            toolbox = self._toolbox(folder, backend)
            at_price = self._at_price(backend, folder, toolbox)
            manner = Manner(levels=read_levels(folder), usual_price=self._params.reward.price)
            after = partial(_forget, weakref.ref(backend))
            served = Served(version.number, version.digest, backend, engine, toolbox, at_price, manner, on_close=after)
            check_golden(served, self._settings, composite=self._params.tools.composite)
        except BaseException:
            engine.close()
            raise
        return served

    def close(self) -> None:
        """Close the tools."""
        self._open.close()

    def _engine(self, backend: Backend, version: Version) -> Engine:
        if not isinstance(backend, Policy):
            return RemoteEngine(backend, concurrent=self._settings.limits.concurrent)

        def told(error: BaseException) -> None:
            self._told(f"version {version.number}: the model failed: {type(error).__name__}: {error}")

        return LiveEngine(backend, name=version.number, told=told)

    def _toolbox(self, folder: Path, backend: Backend) -> Toolbox:
        files = read_manifest(folder)["files"]
        tokenizer = str({name: row["sha256"] for name, row in files.items() if "token" in name or "vocab" in name})
        if tokenizer not in self._toolboxes:
            tools = open_tools(self._paths, self._params, cut=backend.chat.cut)
            self._toolboxes[tokenizer] = self._open.enter_context(tools)
        return self._toolboxes[tokenizer]

    def _at_price(self, backend: Backend, folder: Path, toolbox: Toolbox) -> AtPrice | None:
        if not isinstance(backend, Policy):
            return None
        features = int(backend.model.config.hidden_size)
        q = read_q(folder, features=features)
        if q is None:
            return None
        return by_value(
            backend,
            q,
            read_values(folder, features=features),
            trained_price=self._params.reward.price,
            charge=toolbox.charge,
            units=PriceSheet(self._params.prices).units,
        )


def _forget(backend: weakref.ref[Backend]) -> None:
    """Give the memory of a closed version back: models are many cycles of references, which nobody else breaks soon.

    Whoever ended the last lease holds the version a moment longer.
    """
    for _ in range(PATIENCE):
        gc.collect()
        if backend() is None:
            break
        time.sleep(0.1)
    give_back()
