"""Every policy played on every problem, saved batch by batch, so that a killed evaluation continues where it was.

Takes the plan, the problems, folders for saved batches and a function that opens a model for play; gives trajectories
by policy. A saved batch is read back, not played again: the caller names another folder when the model or the problems
changed. Does not load models itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from components.evaluation.policies import Play
from components.records.jsonl import read_records, write_records
from components.schema.problem import Problem
from components.schema.trajectory import Trajectory

Act = Callable[[Play, Sequence[Problem]], Sequence[Trajectory]]
"""Plays problems as the policy says; one trajectory a problem, in order."""
OpenModel = Callable[[str], AbstractContextManager[Act]]
"""Opens a model by name (base, clone, reinforced, final) for the time of a `with`."""
FolderOf = Callable[[Play], Path]
"""Where the batches of a play are saved; plays may share a folder."""
Told = Callable[[Play, int, int], None]
"""Is told the policy, and how many of how many problems it has played."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Problems that a policy plays together, possibly none; what comes out depends on nothing else."""

    play: Play
    number: int
    problems: tuple[Problem, ...]


def spread(problems: Sequence[Problem], most: int | None) -> tuple[Problem, ...]:
    """At most `most` problems, evenly spaced over `problems`; all when None."""
    if most is None or len(problems) <= most:
        return tuple(problems)
    return tuple(problems[i * len(problems) // most] for i in range(most))


def collect(
    plan: Sequence[Play],
    problems: Sequence[Problem],
    folder_of: FolderOf,
    *,
    batch_size: int,
    open_model: OpenModel,
    told: Told,
) -> dict[str, tuple[Trajectory, ...]]:
    """Policy name to its trajectories, in the order of `problems`, of which those are left out that do not offer what
    the policy is forced to; a model is opened once, if it has to play."""
    missing = missing_batches(plan, problems, folder_of, batch_size=batch_size)
    for model, batches in groupby(missing, key=lambda batch: batch.play.model):
        with open_model(model) as act:
            for batch in batches:
                save_batch(folder_of, batch, act(batch.play, batch.problems) if batch.problems else ())
                told(batch.play, min(len(problems), (batch.number + 1) * batch_size), len(problems))
    count = len(range(0, len(problems), batch_size))
    return {play.policy: tuple(_read(folder_of(play), play, count)) for play in plan}


def missing_batches(
    plan: Sequence[Play], problems: Sequence[Problem], folder_of: FolderOf, *, batch_size: int
) -> tuple[Batch, ...]:
    """What `collect` plays, model by model; whoever plays it elsewhere may `save_batch` what came out before."""
    starts = range(0, len(problems), batch_size)
    return tuple(
        Batch(play, number, tuple(filter(play.plays, problems[start : start + batch_size])))
        for play in by_model(plan)
        for number, start in enumerate(starts)
        if not _file(folder_of(play), play, number).is_file()
    )


def by_model(plan: Sequence[Play]) -> tuple[Play, ...]:
    """The plays in the order in which they are played: those of one model together."""
    models = list(dict.fromkeys(play.model for play in plan))
    return tuple(sorted(plan, key=lambda play: models.index(play.model)))


def save_batch(folder_of: FolderOf, batch: Batch, trajectories: Sequence[Trajectory]) -> None:
    """Put a batch where `collect` finds it."""
    write_records(_file(folder_of(batch.play), batch.play, batch.number), trajectories)


def _read(folder: Path, play: Play, batches: int) -> Iterable[Trajectory]:
    for number in range(batches):
        yield from read_records(_file(folder, play, number), Trajectory)


def _file(folder: Path, play: Play, number: int) -> Path:
    return folder / f"{play.policy}-{number:04d}.jsonl"
