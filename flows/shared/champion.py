"""The champion on the present problems, so that the gate compares like with like.

Takes the champion's folder and digest and the problems' ids; gives the file of its rows, kept by digest of weights,
problems, tools and prices (and the price that it is told, where it follows one): it is played only once.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from components.evaluation.rows import rows_of
from components.policy.told_price import read_levels
from components.records.jsonl import write_records
from components.records.manifest import verify_manifest
from components.records.problems import read_problems
from components.schema.identity import stable_hash
from flows.shared.conditions import DECIDES
from flows.shared.inputs import dvc_hash
from flows.shared.params import load_params
from flows.shared.paths import Paths
from flows.shared.playing import open_player


def evaluate_champion(paths: Paths, folder: Path, digest: str, problem_ids: Collection[str]) -> Path:
    """The champion's rows on these test problems under the present tools, prices and engine."""
    params = load_params(paths)
    told = [params.reward.price] if read_levels(folder) else []
    present = [digest, sorted(problem_ids), dvc_hash(paths.passages), params.raw(DECIDES), *told]
    file = paths.champion_evaluation(stable_hash(present)) / "rows.jsonl"
    if file.is_file():
        return file
    verify_manifest(folder)
    problems = [problem for problem in read_problems(paths.problems("test")) if problem.problem_id in problem_ids]
    with open_player(paths, params, folder, policy_id=digest) as player:
        trajectories = player.play(problems, seed=params.seed)
        rows = rows_of("champion", problems, trajectories, player.prices.units)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_records(file, rows)
    return file
