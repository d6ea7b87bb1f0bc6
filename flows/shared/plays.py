"""Where an evaluation keeps what each model played: under a key of all that decides how it comes out.

What did not change is not played again: not after a kill, not when a later stage made another model, and not in a
variant of an experiment that has the model in common with the one before. Takes the running stage and a model's name;
gives a folder. Plays nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from components.policy.told_price import read_levels
from components.schema.identity import stable_hash
from flows.shared import inputs
from flows.shared.stage import StageRun

KEPT = 24
"""Folders, the last used ones; one has the size of a test split's trajectories, a few MB."""
NOT_PLAYED = ("data/models/", "data/reports/")
"""Of what the stage depends on, the models, each of which has its own key, and what is only reported."""


def play_folders(run: StageRun, models: Iterable[str]) -> dict[str, Path]:
    """The folder of each model's plays, marked as used now; those that were not used for longest are removed."""
    hashes, params = inputs.hashes(run.paths, run.stage), run.params
    shared = {dep: found for dep, found in hashes.items() if not dep.startswith(NOT_PLAYED)}
    values = params.raw(("policy", "prices", "tools"))
    size = [params.evaluate.batch_size, params.evaluate.max_problems]
    folders = {}
    for model in dict.fromkeys(models):
        folder = run.paths.model(model)
        own = [model, inputs.dvc_hash(folder), params.reward.price if read_levels(folder) else None]
        folders[model] = run.paths.plays / stable_hash([own, shared, values, size, params.seed], length=20)
        folders[model].mkdir(parents=True, exist_ok=True)
        os.utime(folders[model])
    _forget(run.paths.plays, keep=set(folders.values()))
    return folders


def _forget(plays: Path, *, keep: set[Path]) -> None:
    used = sorted(plays.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in used[KEPT:]:
        if folder not in keep:
            shutil.rmtree(folder, ignore_errors=True)
