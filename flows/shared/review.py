"""What a reviewer finds in MLflow about a version: the gate's report on its page, and both models side by side.

Takes a desk, a version and the verdict over it; writes description, tags, report and two runs with the same metrics.
Does not decide.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from components.evaluation.gate_report import gate_markdown
from components.evaluation.metrics import evaluate_rows
from components.evaluation.rows import EvalRow
from components.evaluation.settings import GateSettings
from components.records.codec import to_json
from components.schema.report import GateResult
from flows.shared.by_hand import digest_of
from flows.shared.inputs import dvc_hash
from flows.shared.promoting import Desk
from flows.shared.promotion import Compared
from flows.shared.registry import Version

REPORT = "gate.json"
"""Name of the report among the artifacts of the version's run."""


def write_review(
    desk: Desk, version: Version, verdict: GateResult, compared: Compared | None, thresholds: GateSettings
) -> Version:
    """The version with the verdict on its page; nothing is written where nothing new was compared."""
    report = to_json(verdict)
    if compared is None or version.tags.get("gate.report.sha256") == digest_of(report):
        return version
    tags = {
        "gate.decision": verdict.decision,
        "gate.reason": verdict.reason[:4900],
        "gate.report.sha256": digest_of(report),
        "gate.look": str(verdict.look),
        "gate.problems": verdict.problems,
        "gate.champion": verdict.champion,
    }
    for role, name, rows in (
        ("challenger", verdict.challenger, compared.challenger),
        ("champion", verdict.champion, compared.champion),
    ):
        tags[f"gate.run.{role}"] = _log_side(desk, version, role, name, rows, thresholds)
    desk.registry.log_text(version.run_id, REPORT, json.dumps(report, indent=2, sort_keys=True))
    desk.registry.tag_version(version.number, tags)
    desk.registry.describe_version(version.number, _page(verdict, version, tags))
    return replace(version, tags={**version.tags, **tags})


def _log_side(
    desk: Desk, version: Version, role: str, name: str, rows: Sequence[EvalRow], thresholds: GateSettings
) -> str:
    """A run with the metrics of one side; MLflow's compare view puts the two next to each other."""
    tags = {"gate.role": role, "gate.version": version.number, "gate.model": name}
    run_id = desk.registry.open_run(f"gate {version.number}: {role} ({name})", run_id=None, tags=tags)
    found = evaluate_rows(name, rows, cost_weight=0.0, seed=thresholds.seed, resamples=thresholds.resamples)
    sliced = {
        f"slice/{part}/accuracy": v["eval/accuracy"] for part, v in found.by_slice.items() if "eval/accuracy" in v
    }
    metrics = {key: value.value for key, value in {**found.metrics, **sliced}.items()}
    desk.registry.log_metrics(run_id, metrics, 0)
    problems = desk.paths.problems("test")
    if problems.is_file():
        path = str(problems.relative_to(desk.paths.root))
        desk.registry.log_dataset(run_id, name=path, digest=dvc_hash(problems), context="gate")
    desk.registry.close_run(run_id, status="FINISHED")
    return run_id


def _page(verdict: GateResult, version: Version, tags: dict[str, str]) -> str:
    sides = f"`{tags['gate.run.challenger']}` (challenger), `{tags['gate.run.champion']}` (champion)"
    lineage = [f"| {name} | `{value}` |" for name, value in sorted(version.tags.items()) if _is_lineage(name)]
    return "\n".join(
        [
            gate_markdown(verdict),
            f"Runs to compare: {sides}. Full report: artifact `{REPORT}` of the run that made this version.",
            "",
            "| lineage | |",
            "|---|---|",
            *lineage,
        ]
    )


def _is_lineage(name: str) -> bool:
    return name.split(".")[0] in {"data", "dvc", "git", "payload", "prefect"}
