"""All families together. Takes the fact table and settings; gives the problems of one profile.

Every profile draws from the same pool, so a smaller one holds a part of a larger one. It measures nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from components.curation.facts import Fact
from components.curation.family_chat import chat_problems
from components.curation.family_compute import compute_problems
from components.curation.family_fact import decoy_problems, fact_problems, number_problems
from components.curation.family_fact_compute import fact_compute_problems
from components.curation.family_puzzle import puzzle_problems
from components.curation.family_two_hop import two_hop_problems
from components.curation.settings import CurateSettings
from components.curation.splits import subsample
from components.schema.problem import Problem, Split

COMPUTE_POOL = 2400
PUZZLE_POOL = 1000


def all_problems(facts: Sequence[Fact], split_seed: int) -> tuple[Problem, ...]:
    """The whole pool, each prompt once."""
    return tuple(_each_prompt_once(_pool(facts, split_seed)))


def select_problems(pool: Sequence[Problem], settings: CurateSettings) -> tuple[Problem, ...]:
    """The part of the pool that one profile uses: nested, stratified by family."""
    sizes: Mapping[Split, int] = {
        "train": settings.train_size,
        "validation": settings.validation_size,
        "test": settings.test_size,
    }
    return subsample(pool, sizes, settings.weights.model_dump())


def _pool(facts: Sequence[Fact], seed: int) -> Iterator[Problem]:
    yield from fact_problems(facts, seed)
    yield from number_problems(facts, seed)
    yield from decoy_problems(facts, seed)
    yield from two_hop_problems(facts, seed)
    yield from fact_compute_problems(facts, seed)
    yield from compute_problems(COMPUTE_POOL, seed)
    yield from chat_problems(seed)
    yield from puzzle_problems(PUZZLE_POOL, seed)


def _each_prompt_once(problems: Iterable[Problem]) -> Iterator[Problem]:
    seen: set[str] = set()
    for problem in problems:
        if problem.prompt not in seen:
            seen.add(problem.prompt)
            yield problem
