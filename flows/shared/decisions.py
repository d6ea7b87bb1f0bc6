"""Decisions over a model, kept under the state of the data they were taken for.

Takes the project's paths; gives or keeps the decision for the present `dvc.lock`. Takes none, and imports no MLflow:
whether a run would do anything must cost little.
"""

from __future__ import annotations

import hashlib
import json

from components.records.codec import from_json, to_json
from components.schema.report import PromotionDecision
from flows.shared.paths import Paths


def lock_digest(paths: Paths) -> str:
    """sha256 of `dvc.lock`: the state of all data and models."""
    return hashlib.sha256(paths.dvc_lock.read_bytes()).hexdigest() if paths.dvc_lock.is_file() else "none"


def read_decision(paths: Paths) -> PromotionDecision | None:
    """The decision taken for the present `dvc.lock`; None when none was taken yet."""
    file = paths.decision(lock_digest(paths))
    return from_json(PromotionDecision, json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def write_decision(paths: Paths, decision: PromotionDecision) -> None:
    """Keep the decision for the present `dvc.lock`."""
    file = paths.decision(lock_digest(paths))
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(to_json(decision), indent=2) + "\n", encoding="utf-8")
    temporary.replace(file)
