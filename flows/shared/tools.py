"""The tools that the parameters describe, opened for the time of a `with`.

Takes the project's paths and parameters; gives an open toolbox, or the specs of its tools. Here, and only here, the
secrets that tools name are read from the environment, and the folder `own/` becomes importable. Runs no call.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.records.jsonl import read_records
from components.tools.function_tool import BadTool
from components.tools.open_toolbox import open_toolbox
from components.tools.own_tools import Surroundings
from components.tools.prices import PriceSheet
from components.tools.search_index import Passage
from components.tools.settings import Engine
from components.tools.spec import Cut, ToolSpec
from components.tools.toolbox import Toolbox
from flows.shared.params import BadParams, Params
from flows.shared.paths import Paths


@contextlib.contextmanager
def open_tools(paths: Paths, params: Params, *, cut: Cut, engine: Engine | None = None) -> Iterator[Toolbox]:
    """Every tool, `search` under `engine` (by default the deployment's)."""
    with _opened(paths, params, read_records(paths.passages, Passage), cut=cut, engine=engine) as toolbox:
        yield toolbox


def specs_of_tools(paths: Paths, params: Params) -> tuple[ToolSpec, ...]:
    """The specs of every tool; needs no corpus."""
    with _opened(paths, params, (), cut=lambda text, budget: text, engine=None) as toolbox:
        return toolbox.specs()


@contextlib.contextmanager
def _opened(
    paths: Paths, params: Params, passages: Sequence[Passage], *, cut: Cut, engine: Engine | None
) -> Iterator[Toolbox]:
    try:
        toolbox = open_toolbox(
            params.tools,
            PriceSheet(params.prices),
            passages,
            cut=cut,
            clock=time.monotonic,
            engine=engine,
            surroundings=_surroundings(paths, params),
        )
    except BadTool as error:
        raise BadParams(f"params.yaml: {error}") from error
    try:
        yield toolbox
    finally:
        toolbox.close()


def _surroundings(paths: Paths, params: Params) -> Surroundings:
    make_importable(paths.root)
    named = params.tools.own.variables()
    return Surroundings(paths.own, {name: os.environ[name] for name in named if name in os.environ})


def make_importable(root: Path) -> None:
    """`own` can be imported; last on the path, so that nothing in the project hides an installed library."""
    if str(root) not in sys.path:
        sys.path.append(str(root))
