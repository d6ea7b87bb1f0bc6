"""Problems that people bring, found where DVC sees them change. Takes paths and sources; gives rows. Judges none.

A file or folder must lie below `own/` or `data/annotations/`: the stage `curate` depends on these two, so it runs again
when a row changes. Anything else is the id of a dataset, whose revision is part of the parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from components.records.own_problems import BadSource, OwnProblemBatch, read_own_problems
from flows.shared.params import BadParams
from flows.shared.paths import Paths


def read_own(paths: Paths, sources: Sequence[str]) -> OwnProblemBatch:
    """Every row of the sources of section `curate`."""
    try:
        return read_own_problems([_place(paths, source) for source in sources])
    except BadSource as error:
        raise BadParams(f"params.yaml: curate.sources: {error}") from error


def _place(paths: Paths, source: str) -> Path | str:
    """The file or folder on disk, or the dataset's id as it is."""
    path = (paths.root / source).resolve()
    if not path.exists():
        return source
    if not any(path.is_relative_to(folder.resolve()) for folder in (paths.own, paths.annotations)):
        raise BadParams(
            f"params.yaml: curate.sources: {source} must lie below own/ or data/annotations/, where changes are seen"
        )
    return path
