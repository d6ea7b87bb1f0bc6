"""`qanat experiments NAME`: a claim tested on variants of the one DAG, each under its own parameters and seeds.

Every variant runs in a copy of the project that shares DVC's cache, so that what two variants have in common is made
once. What a variant left is kept under a key of code, data, parameters and seed: a killed experiment goes on with the
variants that are missing. Writes results and plot; computes nothing itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.evaluation.rows import EvalRow
from components.experiments.catalogue import EXPERIMENTS
from components.experiments.picture import picture
from components.experiments.plan import Experiment, Measured, Played, Variant
from components.records.atomic import write_json, write_text
from components.records.jsonl import read_records, read_rows
from components.schema.trajectory import Trajectory
from components.search.trial import Attempt
from flows.shared import variant_runs
from flows.shared.faults import UserFault
from flows.shared.git import read_commit
from flows.shared.params import PROFILES
from flows.shared.paths import Paths

Say = Callable[[str], None]


def listed() -> Iterator[str]:
    """Names and claims."""
    for experiment in EXPERIMENTS.values():
        yield f"{experiment.name:<14} {experiment.claim}"


def run_experiment(
    paths: Paths, name: str, *, seeds: Sequence[int], profile: str, say: Say, shared: Path | None = None
) -> Iterator[str]:
    """Run what is missing of the experiment, write its result; gives the lines of the result's table.

    `shared`: a folder of finished variants that other machines or checkouts read and fill as well.
    """
    if name not in EXPERIMENTS:
        raise UserFault(f"experiments: no experiment {name!r} (known: {', '.join(EXPERIMENTS)})")
    if profile not in PROFILES:
        raise UserFault(f"--profile: must be one of {', '.join(PROFILES)}, is {profile!r}")
    experiment, started = EXPERIMENTS[name], time.monotonic()
    found: dict[str, dict[int, Played]] = {}
    machines: dict[str, None] = {}
    for seed in seeds:
        for variant in experiment.variants:
            say(f"{name}: {variant.name} ({variant.meaning}), seed {seed}")
            folder = variant_runs.run(paths, variant, seed=seed, profile=profile, say=say, shared=shared)
            machines[_machine_of(folder)] = None
            found.setdefault(variant.name, {})[seed] = _played(folder, variant)
    rows = experiment.analyse(found)
    seconds = time.monotonic() - started
    _write(paths, experiment, rows, seeds=seeds, profile=profile, seconds=seconds, machines=list(machines))
    if experiment.draw is not None:
        write_text(paths.experiments / f"{name}_curves.svg", experiment.draw(found))
    yield from table(rows)


def _machine_of(folder: Path) -> str:
    """What made the variant."""
    made: Mapping[str, str] = json.loads((folder / variant_runs.MADE).read_text(encoding="utf-8"))
    return made["machine"]


def _played(folder: Path, variant: Variant) -> Played:
    by_policy: dict[str, list[EvalRow]] = {}
    for row in read_records(folder / "rows.jsonl", EvalRow):
        by_policy.setdefault(row.policy, []).append(row)
    steps = folder / "reinforce_steps.jsonl"
    return Played(
        rows={policy: tuple(rows) for policy, rows in by_policy.items()},
        trajectories=tuple(read_records(folder / "trajectories.jsonl", Trajectory)),
        steps=tuple(row for _, row in read_rows(steps)) if steps.is_file() else (),
        attempts=read_records(folder / "attempts.jsonl", Attempt) if variant.trial else (),
        figures=json.loads((folder / "figures.json").read_text(encoding="utf-8")) if variant.trial else {},
    )


def _write(
    paths: Paths,
    experiment: Experiment,
    rows: Sequence[Measured],
    *,
    seeds: Sequence[int],
    profile: str,
    seconds: float,
    machines: Sequence[str],
) -> None:
    commit = read_commit(paths.root)
    result: Mapping[str, Any] = {
        "name": experiment.name,
        "claim": experiment.claim,
        "git_sha": commit.sha + ("+dirty" if commit.dirty else ""),
        "machine": "; ".join(machines),
        "command": f"qanat experiments {experiment.name} --seeds {len(seeds)} --profile {profile}",
        "seconds": round(seconds, 1),
        "rows": [asdict(row) for row in rows],
    }
    paths.experiments.mkdir(parents=True, exist_ok=True)
    write_json(paths.experiments / f"{experiment.name}.json", result)
    write_text(paths.experiments / f"{experiment.name}.svg", picture(experiment.claim, rows))


def table(rows: Sequence[Measured]) -> Iterator[str]:
    """One line a measure."""
    for row in rows:
        bar = f"  bar {row.bar}" if row.bar else ""
        figures = f"{row.value:.3g} [{row.low:.3g}, {row.high:.3g}] {row.unit}"
        yield f"{row.measure:<75} {figures:<36} n {row.n}, {row.seeds} seeds{bar}"
