"""Stage `base`: the base model as safetensors. Takes `base.source`; gives data/models/base. Trains nothing."""

from __future__ import annotations

from components.policy.base_model import export_base
from flows.shared.model_folder import write_model
from flows.shared.stage import stage_run

STAGE = "base"


def main() -> None:
    """Export the base model once."""
    with stage_run(STAGE) as run:
        source = run.params.base.source
        digest = write_model(run.paths.model("base"), lambda folder: export_base(source, folder, run.params.policy))
        run.say(f"base model from {source}: {digest[:12]}")


if __name__ == "__main__":
    main()
