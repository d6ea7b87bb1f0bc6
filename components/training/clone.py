"""Behaviour cloning from demonstrations, with the direct branch kept alive. Takes examples; trains a model in place.

Cloning people who always call leaves nothing of the model's own answers (science.md 2: 35 % -> 14 %), so every batch
also holds the base model's own direct answers, learnt given that no call opens: right or wrong, or the right ones
alone, never the gold.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from components.policy.model_type import CausalLM
from components.schema.identity import child_seed
from components.schema.trajectory import Trajectory
from components.training.batches import indices
from components.training.examples import Example
from components.training.imitate import Report, imitate
from components.training.settings import CloneSettings
from components.training.team import ALONE, Team


def own_answers(direct: Sequence[Trajectory], settings: CloneSettings) -> tuple[Trajectory, ...]:
    """Of the base model's own direct answers, those that are learnt; one without a verdict is not a right one."""
    return tuple(one for one in direct if settings.direct_answers == "all" or one.outcome.success)


def clone(
    model: CausalLM,
    demonstrations: Sequence[Example],
    direct: Sequence[Example],
    settings: CloneSettings,
    *,
    call_token: int,
    seed: int,
    checkpoint: Path | None = None,
    report: Report = lambda step, metrics: None,
    team: Team = ALONE,
) -> None:
    """Imitate `demonstrations` while distilling `direct` (answers only, no decision).

    Raises:
        ValueError: there is no demonstration.
    """
    seeds = child_seed(seed, "demonstrations"), child_seed(seed, "direct")

    def batch_of(step: int) -> list[Example]:
        chosen = [demonstrations[i] for i in indices(len(demonstrations), settings.batch, seed=seeds[0], step=step)]
        if direct and settings.direct_batch:
            chosen += [direct[i] for i in indices(len(direct), settings.direct_batch, seed=seeds[1], step=step)]
        return chosen

    imitate(
        model, batch_of, settings, call_token=call_token, seed=seed, checkpoint=checkpoint, report=report, team=team
    )
