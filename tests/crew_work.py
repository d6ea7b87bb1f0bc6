"""Work for a crew in other processes: a tiny project's search and play, by a worker that may die once.

Takes a folder; gives a project in it. Workers import this module, so it lies beside the doubles.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from doubles import PASSAGES, make_problem
from model_search import MADE_BY, PROMPTS
from tiny_models import leaning_llama, tokenizer

from components.evaluation.collect import Batch
from components.evaluation.policies import Play
from components.policy.load import save_model
from components.records.jsonl import write_records
from components.records.manifest import write_manifest
from components.schema.problem import Problem
from components.search.settings import SelfplaySettings
from flows.shared.paths import Paths
from flows.shared.playing import open_play
from flows.shared.searching import open_search

PROBLEMS: tuple[Problem, ...] = tuple(make_problem(prompt, family="puzzle") for prompt in PROMPTS)
SETTINGS = SelfplaySettings(families=("puzzle",), problems=6, simulations=3, trees=2, arguments_per_tool=2, max_depth=2)
PARAMS = "profile: smoke\nseed: 3\npolicy: {dtype: float32, device: cpu, slots: 16, threads: 1}\n"


def make_project(root: Path) -> Paths:
    """A project with one tiny model under two names, four passages and parameters."""
    paths = Paths(root)
    paths.params.write_text(PARAMS, encoding="utf-8")
    paths.dag.write_text("stages: {}\n", encoding="utf-8")
    write_records(paths.passages, PASSAGES)
    for name in ("reinforced", "clone"):
        save_model(leaning_llama(), tokenizer(), paths.model(name))
        write_manifest(paths.model(name))
    return paths


def batches() -> tuple[Batch, ...]:
    """Two policies, two batches each."""
    plays = (Play("clone", "clone", None), Play("always-search", "reinforced", ("search",)))
    return tuple(Batch(play, number, PROBLEMS[3 * number : 3 * number + 3]) for play in plays for number in (0, 1))


@contextlib.contextmanager
def open_both(paths: Paths, dies_at: str | None, once: Path) -> Iterator[Callable[[Any], Any]]:
    """Searches blocks and plays batches; ends its process at the block of that first problem, unless it did before."""
    with open_search(paths, "reinforced", SETTINGS, MADE_BY) as search, open_play(paths) as play:

        def work(shard: Batch | Sequence[Problem]) -> Any:
            if isinstance(shard, Batch):
                return play(shard)
            if shard[0].problem_id == dies_at and not once.exists():
                once.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return search(shard)

        yield work
