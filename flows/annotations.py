"""What is done with annotation files: explained row by row, generated where there are none, tracked by DVC.

Takes files and the project's paths; gives lines for a person. What a good row is, is the records' business.
"""

from __future__ import annotations

import logging
from pathlib import Path

from components.curation.corpus import make_corpus
from components.curation.seed_annotations import seed_problems, write_seed
from components.curation.settings import CorpusSettings
from components.records.annotations import read_annotations
from components.records.quarantine import format_rejects
from flows.shared import graph
from flows.shared.params import load_params
from flows.shared.paths import Paths
from flows.shared.tools import specs_of_tools

SEED = 0
"""The seed set is the same whatever params.yaml says: it stands for work that people did once."""


def check(paths: Paths, file: Path) -> tuple[list[str], bool]:
    """One line a bad row and a summary; and whether all rows are good."""
    batch = read_annotations(file, tools=specs_of_tools(paths, load_params(paths)))
    summary = f"{len(batch.annotations)} good rows, {len(batch.rejects)} bad"
    return [*format_rejects(batch.rejects), summary], not batch.rejects


def seed(paths: Paths) -> int:
    """Generate the seed set from the installed Factbook; gives the number of rows."""
    facts = make_corpus(CorpusSettings(), seed=SEED).facts
    paths.annotations.mkdir(parents=True, exist_ok=True)
    return write_seed(paths.seed_annotations, facts, seed_problems(facts), seed=SEED)


def ensure(paths: Paths) -> list[str]:
    """Annotations on disk and tracked by DVC; gives a line for everything that had to be done."""
    done = []
    if not any(paths.annotations.glob("*.jsonl")):
        seed(paths)
        done.append(f"no annotations here: generated {paths.seed_annotations.relative_to(paths.root)}")
    if track(paths):
        done.append("data/annotations changed: tracked anew in data/annotations.dvc")
    return done


def track(paths: Paths) -> bool:
    """Let DVC take over the annotations; True when they were not the ones it knew."""
    file = paths.annotations.with_suffix(".dvc")
    if file.is_file() and not graph.is_changed_data(paths.root, file):
        return False
    before = file.read_bytes() if file.is_file() else b""
    logging.getLogger("dvc").setLevel(logging.WARNING)  # it would advise to commit what git ignores here
    with graph.open_repo(paths.root) as repo:
        repo.add(str(paths.annotations))
    return file.read_bytes() != before
