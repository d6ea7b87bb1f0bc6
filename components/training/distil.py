"""Distillation of search into the policy. Takes searched, demonstrated and direct examples; trains in place.

Search found answers that the policy alone misses; imitating its cheapest correct paths makes them the policy's own,
while replayed demonstrations and direct answers keep everything else where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from components.policy.model_type import CausalLM
from components.schema.identity import child_seed
from components.training.batches import indices, replay_indices
from components.training.examples import Example
from components.training.imitate import Report, imitate
from components.training.settings import DistilSettings
from components.training.team import ALONE, Team


def distil(
    model: CausalLM,
    searched: Sequence[Example],
    kept: Sequence[Example],
    direct: Sequence[Example],
    settings: DistilSettings,
    *,
    call_token: int,
    seed: int,
    checkpoint: Path | None = None,
    report: Report = lambda step, metrics: None,
    team: Team = ALONE,
) -> None:
    """Imitate: `settings.search_share` of every batch from `searched`, the rest replayed. Without any, replay only."""
    from_search = round(settings.batch * settings.search_share) if searched else 0
    seeds = child_seed(seed, "searched"), child_seed(seed, "replay")

    def batch_of(step: int) -> list[Example]:
        chosen = (
            [searched[i] for i in indices(len(searched), from_search, seed=seeds[0], step=step)] if searched else []
        )
        rest = replay_indices(len(kept), len(direct), settings.batch - from_search, seed=seeds[1], step=step)
        return chosen + [[*kept, *direct][i] for i in rest]

    imitate(
        model, batch_of, settings, call_token=call_token, seed=seed, checkpoint=checkpoint, report=report, team=team
    )


MOST_REPEATS = 4
"""How often a source is repeated at most: a few examples alone would be learnt by heart."""


def evened(*sources: Sequence[Example]) -> list[Example]:
    """All sources together, smaller ones repeated to the size of the largest, or as far as they may be.

    What search alone finds is rare and new; beside the many problems that were judged it would hardly be seen.
    """
    largest = max((len(source) for source in sources), default=0)
    repeats = [min(MOST_REPEATS, max(1, largest // max(len(source), 1))) for source in sources]
    return [one for source, times in zip(sources, repeats, strict=True) for _ in range(times) for one in source]
