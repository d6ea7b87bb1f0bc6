"""The toolbox that the settings describe. Takes settings, prices, passages; gives an open `Toolbox`. Runs no call."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from components.tools.composite import composite_specs
from components.tools.prices import PriceSheet
from components.tools.python_monty import PythonTool
from components.tools.search_index import Passage, SearchTool, build_index
from components.tools.searxng import SearxngTool
from components.tools.settings import Engine, ToolSettings
from components.tools.spec import Cut, Tool
from components.tools.toolbox import DEFAULT_TIMEOUT, Toolbox


def open_toolbox(
    settings: ToolSettings,
    prices: PriceSheet,
    passages: Iterable[Passage],
    *,
    cut: Cut,
    clock: Callable[[], float],
    engine: Engine | None = None,
) -> Toolbox:
    """`search` (under `engine`, by default the deployment's) and `python`; close it when done.

    The composite's calls to itself that the settings list are shown beside them.
    """
    tools: tuple[Tool, ...] = (
        _search(settings, passages, cut=cut, engine=engine or settings.engine),
        PythonTool(settings.python, cut=cut),
    )
    return Toolbox(
        tools,
        prices,
        clock,
        settings.max_workers,
        timeouts=settings.timeouts,
        cache_size=settings.cache_size,
        composite=composite_specs(settings.composite.tools),
    )


def _search(settings: ToolSettings, passages: Iterable[Passage], *, cut: Cut, engine: Engine) -> Tool:
    if settings.searxng_url is not None:
        timeout = 0.9 * settings.timeouts.get("search", DEFAULT_TIMEOUT)  # so that its own message is the one read
        return SearxngTool(
            settings.searxng_url, k=settings.k, cut=cut, result_tokens=settings.result_tokens, timeout=timeout
        )
    return SearchTool(build_index(passages), engine=engine, k=settings.k, cut=cut, result_tokens=settings.result_tokens)
