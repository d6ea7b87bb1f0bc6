"""Every experiment by name."""

from __future__ import annotations

from collections.abc import Mapping

from components.experiments.boundary import BOUNDARY
from components.experiments.decoys import DECOYS
from components.experiments.engine_swap import ENGINE_SWAP
from components.experiments.forms import FORMS_EXPERIMENT
from components.experiments.frontier import FRONTIER
from components.experiments.hidden_answer import HIDDEN_ANSWER
from components.experiments.nested import NESTED_EXPERIMENT
from components.experiments.normaliser import NORMALISER
from components.experiments.plan import Experiment
from components.experiments.recipe import RECIPE
from components.experiments.search import SEARCH
from components.experiments.splitting import SPLITTING

EXPERIMENTS: Mapping[str, Experiment] = {
    one.name: one
    for one in (
        RECIPE,
        BOUNDARY,
        FRONTIER,
        ENGINE_SWAP,
        DECOYS,
        NORMALISER,
        FORMS_EXPERIMENT,
        NESTED_EXPERIMENT,
        SPLITTING,
        HIDDEN_ANSWER,
        SEARCH,
    )
}
