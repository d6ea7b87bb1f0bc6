"""Stage `evaluate`: every policy on the test split, judged, compared and shown.

Takes the four models, the test problems, the corpus and the step metrics of reinforcement; gives
`data/reports/evaluation/`. Does not decide on promotion: that is the gate's.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from components.evaluation.collect import Act, Batch, FolderOf, by_model, collect, missing_batches, save_batch, spread
from components.evaluation.policies import Play, plan, tools_of
from components.evaluation.report import write_html
from components.evaluation.rows import rows_of
from components.evaluation.samples import choose, choose_samples
from components.evaluation.spans import trajectory_span
from components.evaluation.summary import flat_metrics, summarise
from components.policy.told_price import read_levels
from components.records.atomic import write_json
from components.records.codec import to_json
from components.records.jsonl import read_rows, write_records
from components.records.manifest import verify_manifest
from components.records.problems import read_problems
from components.schema.problem import Problem
from components.schema.trajectory import Trajectory
from components.tools.prices import PriceSheet
from flows.shared.crew import deal
from flows.shared.environ import Parallel, parallel
from flows.shared.params import BadParams
from flows.shared.playing import open_act, open_play
from flows.shared.plays import play_folders
from flows.shared.stage import StageRun, stage_run

STAGE = "evaluate"


def main() -> None:
    """Play, judge, show."""
    with stage_run(STAGE) as run:
        problems = spread(read_problems(run.paths.problems("test")), run.params.evaluate.max_problems)
        _write(run, problems, _play(run, problems))


def _play(run: StageRun, problems: Sequence[Problem]) -> dict[str, tuple[Trajectory, ...]]:
    started = time.monotonic()

    settings = run.params.evaluate
    _check_prices(run)
    plays = plan(settings.judged_model, tools_of(problems), settings.prices, forced=settings.forced)
    order = by_model(plays)
    folders = play_folders(run, (play.model for play in plays))

    def folder_of(play: Play) -> Path:
        return folders[play.model]

    def told(play: Play, done: int, total: int) -> None:
        step = order.index(play) * total + done
        run.progress(step, len(plays) * total, f"{play.policy} {done}/{total}, {time.monotonic() - started:.0f} s")

    @contextlib.contextmanager
    def open_model(model: str) -> Iterator[Act]:
        verify_manifest(run.paths.model(model))
        with open_act(run.paths, run.params, model) as act:
            yield act

    crew = parallel()
    if crew is not None:
        _play_by(crew, run, missing_batches(plays, problems, folder_of, batch_size=settings.batch_size), folder_of)
    return collect(plays, problems, folder_of, batch_size=settings.batch_size, open_model=open_model, told=told)


def _play_by(crew: Parallel, run: StageRun, batches: Sequence[Batch], folder_of: FolderOf) -> None:
    """Let a crew play the batches; each is saved as soon as it is done, and `collect` reads them."""
    for model in dict.fromkeys(batch.play.model for batch in batches):
        verify_manifest(run.paths.model(model))

    def done(place: int, trajectories: Sequence[Trajectory]) -> None:
        save_batch(folder_of, batches[place], trajectories)

    deal(
        partial(open_play, run.paths),
        batches,
        parallel=crew,
        threads=run.params.policy.threads,
        done=done,
        told=lambda count: run.progress(count, len(batches), f"{crew.workers} workers"),
    )


def _check_prices(run: StageRun) -> None:
    """Before anything is played: whether the last model can be told the prices that are asked for."""
    settings = run.params.evaluate
    if settings.prices and not read_levels(run.paths.model(settings.judged_model)):
        raise BadParams(
            f"params.yaml: evaluate.prices: data/models/{settings.judged_model} follows no price: set "
            "reinforce.price_conditioned, then `qanat run`"
        )


def _write(run: StageRun, problems: Sequence[Problem], played: Mapping[str, Sequence[Trajectory]]) -> None:
    paths, settings, price = run.paths, run.params.evaluate, PriceSheet(run.params.prices).units
    rows = {policy: rows_of(policy, problems, trajectories, price) for policy, trajectories in played.items()}
    report = summarise(rows, settings, cost_weight=run.params.reward.price, seed=run.seed)
    samples = choose_samples(problems, played[settings.judged_model], price, count=settings.sample_trajectories)
    paths.evaluation.mkdir(parents=True, exist_ok=True)
    write_records(paths.evaluation_trajectories, [one for several in played.values() for one in several])
    write_records(paths.evaluation_rows, [row for several in rows.values() for row in several])
    write_json(paths.evaluation_report, to_json(report))
    write_html(paths.evaluation_html, report, samples, _reinforce_steps(run), sampled_policy=settings.judged_model)
    run.log_metrics(flat_metrics(report), step=0)
    run.log_artifact(paths.evaluation_html)
    now = time.time_ns()
    judged = settings.judged_model
    for problem, trajectory in choose(problems, played[judged], count=settings.traces):
        run.log_trace(trajectory_span(problem, trajectory, policy=judged, start_ns=now))


def _reinforce_steps(run: StageRun) -> list[dict[str, Any]]:
    """Reward parts by step, as the stage `reinforce` left them; none when it left nothing."""
    file = run.paths.reinforce_steps
    return [step for _, step in read_rows(file)] if file.is_file() else []


if __name__ == "__main__":
    main()
