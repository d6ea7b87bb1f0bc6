"""How much work a retrain is, stage by stage, by its settings. Takes settings; gives units. Knows no seconds."""

from __future__ import annotations

from dataclasses import dataclass, replace

from components.curation.settings import CurateSettings
from components.evaluation.policies import plan
from components.evaluation.settings import EvaluateSettings
from components.search.settings import SelfplaySettings
from components.training.settings import CloneSettings, DistilSettings, ReinforceSettings

BRANCHES = 3
"""Decisions that are judged at a root: answer, search, python."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings that decide how much is done."""

    curate: CurateSettings
    clone: CloneSettings
    reinforce: ReinforceSettings
    selfplay: SelfplaySettings
    distil: DistilSettings
    evaluate: EvaluateSettings
    generations: int = 1
    """Rounds of self-play and distillation."""


def work_of(recipe: Recipe) -> dict[str, float]:
    """Units by stage: problems, examples, trajectories, simulations, trajectories played; 0 where nothing grows."""
    curate, reinforce, judged = recipe.curate, recipe.reinforce, recipe.reinforce.judged
    tested = min(curate.test_size, recipe.evaluate.max_problems or curate.test_size)
    plays = plan(recipe.evaluate.judged_model, prices=recipe.evaluate.prices, forced=recipe.evaluate.forced)
    return {
        "base": 0,
        "corpus": 0,
        "curate": curate.train_size + curate.validation_size + curate.test_size + curate.direct_size,
        "clone": recipe.clone.steps * recipe.clone.batch,
        "reinforce": reinforce.steps * reinforce.batch * reinforce.samples + judged * BRANCHES,
        "selfplay": recipe.generations * recipe.selfplay.problems * (recipe.selfplay.simulations + 1),
        "distil": recipe.generations * recipe.distil.steps * recipe.distil.batch,
        "evaluate": tested * len(plays),
    }


def grown(recipe: Recipe, problems: int) -> Recipe:
    """The recipe for that many train problems: everything that trains on them grows in proportion, tests do not."""
    factor = problems / recipe.curate.train_size

    def times(value: int) -> int:
        return max(1, round(value * factor))

    return replace(
        recipe,
        curate=recipe.curate.model_copy(
            update={"train_size": problems, "direct_size": times(recipe.curate.direct_size)}
        ),
        clone=recipe.clone.model_copy(update={"steps": times(recipe.clone.steps)}),
        reinforce=recipe.reinforce.model_copy(
            update={"steps": times(recipe.reinforce.steps), "judged": times(recipe.reinforce.judged)}
        ),
        selfplay=recipe.selfplay.model_copy(update={"problems": times(recipe.selfplay.problems)}),
        distil=recipe.distil.model_copy(update={"steps": times(recipe.distil.steps)}),
    )
