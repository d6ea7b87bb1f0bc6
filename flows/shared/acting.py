"""A policy with its tools, ready to act. Takes a model's folder and the parameters; gives policy, toolbox and prices.
Does not check the folder's manifest and plays nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.policy.backend import Backend
from components.policy.load import open_backend
from components.tools.prices import PriceSheet
from components.tools.toolbox import Toolbox
from flows.shared.params import Params
from flows.shared.paths import Paths
from flows.shared.tools import open_tools


@dataclass(frozen=True, slots=True)
class Actor:
    """What acts."""

    policy: Backend
    toolbox: Toolbox
    prices: PriceSheet


@contextlib.contextmanager
def open_actor(paths: Paths, params: Params, folder: Path, *, policy_id: str) -> Iterator[Actor]:
    """The model in `folder` with the deployment's tools, for the time of a `with`."""
    with equip(open_backend(folder, params.policy, policy_id=policy_id), paths, params) as actor:
        yield actor


@contextlib.contextmanager
def equip(policy: Backend, paths: Paths, params: Params) -> Iterator[Actor]:
    """`policy` with the deployment's tools, for the time of a `with`."""
    with open_tools(paths, params, cut=policy.chat.cut) as toolbox:
        yield Actor(policy, toolbox, PriceSheet(params.prices))
