"""Stage `clone`: behaviour cloning. Takes the base model and curated demonstrations; gives data/models/clone."""

from __future__ import annotations

from components.records.jsonl import read_records
from components.records.manifest import verify_manifest
from components.schema.trajectory import Trajectory
from components.training.clone import clone, own_answers
from components.training.examples import DIRECT
from flows.shared.trainers import launch, team_run
from flows.shared.training import curated_specs, load_trainable, open_encoder, reporter, save_trained, train_problems

STAGE = "clone"


def main() -> None:
    """Clone."""
    with team_run(STAGE) as (run, team):
        verify_manifest(run.paths.model("base"))
        policy = load_trainable(run, run.paths.model("base"))
        encoder, problems = open_encoder(policy, curated_specs(run)), train_problems(run)
        clone(
            policy.model,
            encoder.pool(read_records(run.paths.demonstrations, Trajectory), problems),
            encoder.pool(own_answers(read_records(run.paths.direct, Trajectory), run.params.clone), problems, DIRECT),
            run.params.clone,
            call_token=policy.chat.call_opening[0],
            seed=run.seed,
            checkpoint=run.work / "checkpoint",
            report=reporter(run, run.params.clone.steps),
            team=team,
        )
        save_trained(run, policy, "clone")


if __name__ == "__main__":
    launch(STAGE, main)
