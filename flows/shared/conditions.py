"""Whether an evaluation on disk was made under the present conditions: a gate compares like with like or not at all.

Takes the project's paths; gives nothing, or says what changed. Reads `dvc.lock`; does not ask what else is out of
date.
"""

from __future__ import annotations

from typing import Any

import yaml

from flows.shared.faults import UserFault
from flows.shared.paths import Paths

DECIDES = ("tools", "prices", "policy")
"""Sections that change what a policy does or what it is charged."""
CONDITIONS = (*DECIDES, "seed", "profile")


class OtherConditions(UserFault):
    """The challenger was played under other tools, prices or seeds than the champion would be now."""


def check_conditions(paths: Paths) -> None:
    """Raises `OtherConditions` when params.yaml differs from what the evaluation was made with."""
    recorded = _recorded(paths)
    present = yaml.safe_load(paths.params.read_text(encoding="utf-8")) if recorded else {}
    changed = [name for name in CONDITIONS if name in recorded and recorded[name] != present.get(name)]
    if changed:
        raise OtherConditions(
            f"params.yaml: {', '.join(changed)} changed since the evaluation was made: `qanat run` makes it anew"
        )


def _recorded(paths: Paths) -> dict[str, Any]:
    """Parameters of the stage that made the evaluation; empty when DVC has no record of it."""
    if not paths.dvc_lock.is_file():
        return {}
    lock: Any = yaml.safe_load(paths.dvc_lock.read_text(encoding="utf-8"))
    folder = str(paths.evaluation.relative_to(paths.root))
    for stage in (lock.get("stages", {}) if isinstance(lock, dict) else {}).values():
        if any(out.get("path") == folder for out in stage.get("outs", ())):
            return dict(stage.get("params", {}).get("params.yaml", {}))
    return {}
