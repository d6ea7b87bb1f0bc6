"""Every experiment by name."""

from __future__ import annotations

from collections.abc import Mapping

from components.experiments.boundary import BOUNDARY
from components.experiments.decoys import DECOYS
from components.experiments.engine_swap import ENGINE_SWAP
from components.experiments.plan import Experiment
from components.experiments.search import SEARCH

EXPERIMENTS: Mapping[str, Experiment] = {one.name: one for one in (BOUNDARY, ENGINE_SWAP, DECOYS, SEARCH)}
