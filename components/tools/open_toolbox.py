"""The toolbox that the settings describe. Takes settings, prices, passages; gives an open `Toolbox`. Runs no call.

Every tool is seen to fit the others before anything can be called: no name begins another, own tools have their prices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from components.tools.composite import composite_specs
from components.tools.function_tool import BadTool
from components.tools.guard import guard_for
from components.tools.guarded_http import GuardedClient
from components.tools.names import check_names, check_prices
from components.tools.own_tools import SHARE_OF_TIMEOUT, Surroundings, open_own_tools
from components.tools.prices import PriceSheet
from components.tools.python_bubblewrap import open_python
from components.tools.search_index import Passage, SearchTool, build_index
from components.tools.searxng import SEARCH_BYTES, SearxngTool
from components.tools.settings import Engine, ToolSettings
from components.tools.spec import Cut, Tool
from components.tools.toolbox import DEFAULT_TIMEOUT, Toolbox, close_all


def open_toolbox(
    settings: ToolSettings,
    prices: PriceSheet,
    passages: Iterable[Passage],
    *,
    cut: Cut,
    clock: Callable[[], float],
    engine: Engine | None = None,
    surroundings: Surroundings | None = None,
) -> Toolbox:
    """`search` (under `engine`, by default the deployment's), `python` and the user's own; close it when done.

    The composite's calls to itself that the settings list are shown beside them.
    `surroundings`: where own functions and secrets come from; without them there are no own tools.

    Raises:
        BadTool: an own tool cannot be opened, has no price, or its name and another's cannot be told apart; or the
            sandbox that the settings name does not hold on this machine.
    """
    python = open_python(settings.python, cut=cut)  # first: it may refuse, and holds nothing open before it is called
    own = () if surroundings is None else open_own_tools(settings, surroundings, cut=cut, clock=clock)
    tools: tuple[Tool, ...] = (
        _search(settings, passages, cut=cut, clock=clock, engine=engine or settings.engine),
        python,
        *own,
    )
    try:
        check_names([tool.spec.name for tool in tools], composite=settings.composite.tools)
        check_prices([tool.spec.name for tool in own], prices)
    except BadTool:
        close_all(tools)
        raise
    return Toolbox(
        tools,
        prices,
        clock,
        settings.max_workers,
        timeouts=settings.timeouts,
        cache_size=settings.cache_size,
        composite=composite_specs(settings.composite.tools),
    )


def _search(
    settings: ToolSettings, passages: Iterable[Passage], *, cut: Cut, clock: Callable[[], float], engine: Engine
) -> Tool:
    if settings.searxng_url is not None:
        client = GuardedClient(
            guard_for(settings.searxng_url, settings.private_hosts),
            clock=clock,
            timeout=SHARE_OF_TIMEOUT * settings.timeouts.get("search", DEFAULT_TIMEOUT),
            most_bytes=SEARCH_BYTES,
        )
        return SearxngTool(settings.searxng_url, client, k=settings.k, cut=cut, result_tokens=settings.result_tokens)
    return SearchTool(build_index(passages), engine=engine, k=settings.k, cut=cut, result_tokens=settings.result_tokens)
