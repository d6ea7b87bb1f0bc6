"""Stage `distil`: what search found becomes the policy's own. Takes the model that its generation starts from; gives
data/models/final, or data/models/NAME for an earlier generation.

Search is that of self-play and, one step deep, that of reinforcement, which tried every decision at many roots.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from components.policy.policy import Policy
from components.policy.told_price import read_levels, write_levels
from components.records.jsonl import read_records
from components.records.manifest import verify_manifest
from components.schema.problem import Problem
from components.schema.trajectory import Trajectory
from components.search.store import read_nodes
from components.tools.prices import PriceSheet
from components.training.distil import distil, evened
from components.training.distil_data import distil_material
from components.training.examples import DIRECT, EVERYTHING, KEEP, Teach
from components.training.material import Encoder
from components.training.own_choices import CHOICE, own_choices
from flows.shared.generations import Generation, generation, stage_of
from flows.shared.heads import vocabulary_of, write_decisions_of, write_q_of, write_values_of
from flows.shared.stage import StageRun
from flows.shared.trainers import launch, team_run
from flows.shared.training import curated_specs, load_trainable, open_encoder, reporter, save_trained, train_problems

STAGE = "distil"
JUDGED = Teach(first_decision=False)
"""Of what reinforcement tried: what it wrote and answered. The decision at the root was learnt there from all values;
the cheapest correct branch alone would teach to answer whatever a guess once got right. Where a price is told, so is
what self-play found: its cheapest path is not what every price asks for."""


def main(arguments: Sequence[str] = ()) -> None:
    """Distil; `arguments`: the name of an earlier generation."""
    stage, name = stage_of(STAGE, arguments)
    with team_run(stage) as (run, team):
        mine = generation(run.params.generations, name)
        start = run.paths.model(mine.start)
        verify_manifest(start)
        policy = load_trainable(run, start)
        levels = read_levels(start)
        encoder, problems = open_encoder(policy, curated_specs(run)), train_problems(run, levels)
        searched = read_records(run.paths.selfplay(name).trajectories, Trajectory)
        judged = read_records(run.paths.rollouts, Trajectory)
        own = () if levels else _own_choices(run, policy, encoder, problems, judged)
        distil(
            policy.model,
            evened(
                encoder.pool(_best(run, mine, searched), problems, JUDGED if levels else EVERYTHING),
                encoder.pool(_best(run, mine, judged), problems, JUDGED),
                encoder.pool(own, problems, CHOICE),
            ),
            encoder.pool(read_records(run.paths.demonstrations, Trajectory), problems, KEEP),
            encoder.pool(read_records(run.paths.direct, Trajectory), problems, DIRECT),
            run.params.distil,
            call_token=policy.chat.call_opening[0],
            seed=run.seed,
            checkpoint=run.work / "checkpoint",
            report=reporter(run, run.params.distil.steps),
            team=team,
        )
        save_trained(run, policy, mine.model, partial(_write_heads, run, policy, encoder, problems, judged, start))


def _write_heads(
    run: StageRun,
    policy: Policy,
    encoder: Encoder,
    problems: Mapping[str, Problem],
    judged: Sequence[Trajectory],
    start: Path,
    folder: Path,
) -> None:
    """What the model it started from has beside its weights: prices it follows, and heads fitted to the new weights."""
    write_levels(folder, read_levels(start))
    write_values_of(run, policy, encoder, problems, judged, folder)
    write_decisions_of(run, policy, encoder, problems, judged, folder)
    write_q_of(run, policy, encoder, problems, judged, start, folder)


def _own_choices(
    run: StageRun,
    policy: Policy,
    encoder: Encoder,
    problems: Mapping[str, Problem],
    judged: Sequence[Trajectory],
) -> tuple[Trajectory, ...]:
    """What the model that is distilled into decides by itself: search is to add to it, not to replace it."""
    return own_choices(
        policy.model,
        judged,
        problems,
        encoder,
        vocabulary_of(policy, problems),
        tokens_per_pass=run.params.distil.tokens_per_pass,
    )


def _best(run: StageRun, mine: Generation, trajectories: Sequence[Trajectory]) -> tuple[Trajectory, ...]:
    """The cheapest correct trajectory a problem."""
    return distil_material(
        trajectories,
        map(asdict, read_nodes(run.paths.selfplay(mine.name).nodes)),
        (),
        units=PriceSheet(run.params.prices).units,
        search_share=1.0,
        min_visits=run.params.selfplay.min_visits,
        seed=run.seed,
    )


if __name__ == "__main__":
    launch(STAGE, partial(main, sys.argv[1:]), sys.argv[1:])
