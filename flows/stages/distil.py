"""Stage `distil`: what search found becomes the policy's own. Takes the reinforced model; gives data/models/final.

Search is that of self-play and, one step deep, that of reinforcement, which tried every decision at many roots.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from components.training.distil import distil
from components.training.distil_data import distil_material
from components.training.examples import DIRECT, EVERYTHING, KEEP, Teach
from components.training.material import Encoder
from flows.shared.heads import write_q_of, write_values_of
from flows.shared.stage import StageRun, stage_run
from flows.shared.training import curated_specs, load_trainable, open_encoder, reporter, save_trained, train_problems

STAGE = "distil"
JUDGED = Teach(first_decision=False)
"""Of what reinforcement tried: what it wrote and answered. The decision at the root was learnt there from all values;
the cheapest correct branch alone would teach to answer whatever a guess once got right. Where a price is told, so is
what self-play found: its cheapest path is not what every price asks for."""


def main() -> None:
    """Distil."""
    with stage_run(STAGE) as run:
        verify_manifest(run.paths.model("reinforced"))
        policy = load_trainable(run, run.paths.model("reinforced"))
        levels = read_levels(run.paths.model("reinforced"))
        encoder, problems = open_encoder(policy, curated_specs(run)), train_problems(run, levels)
        distil(
            policy.model,
            [
                *encoder.pool(_best(run, run.paths.selfplay_trajectories), problems, JUDGED if levels else EVERYTHING),
                *encoder.pool(_best(run, run.paths.rollouts), problems, JUDGED),
            ],
            encoder.pool(read_records(run.paths.demonstrations, Trajectory), problems, KEEP),
            encoder.pool(read_records(run.paths.direct, Trajectory), problems, DIRECT),
            run.params.distil,
            call_token=policy.chat.call_opening[0],
            seed=run.seed,
            checkpoint=run.work / "checkpoint",
            report=reporter(run, run.params.distil.steps),
        )
        save_trained(run, policy, "final", partial(_write_heads, run, policy, encoder, problems))


def _write_heads(
    run: StageRun, policy: Policy, encoder: Encoder, problems: Mapping[str, Problem], folder: Path
) -> None:
    """What the reinforced model has beside its weights: prices it follows, and heads fitted to the new weights."""
    write_levels(folder, read_levels(run.paths.model("reinforced")))
    trajectories = read_records(run.paths.rollouts, Trajectory)
    write_values_of(run, policy, encoder, problems, trajectories, folder)
    write_q_of(run, policy, encoder, problems, trajectories, folder)


def _best(run: StageRun, file: Path) -> tuple[Trajectory, ...]:
    """The cheapest correct trajectory a problem, of those in `file`."""
    return distil_material(
        read_records(file, Trajectory),
        map(asdict, read_nodes(run.paths.selfplay_nodes)),
        (),
        units=PriceSheet(run.params.prices).units,
        search_share=1.0,
        min_visits=run.params.selfplay.min_visits,
        seed=run.seed,
    )


if __name__ == "__main__":
    main()
