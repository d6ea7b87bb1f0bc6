"""Register, gate and promote as Prefect tasks: side effects, so never DVC stages and never skipped by a cache.

Takes the project's paths; gives the decision. Only what it calls computes.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from components.evaluation.gate_report import gate_markdown
from components.schema.report import GateResult, PromotionDecision
from flows.shared import approvals, promotion
from flows.shared.artifacts import show_links
from flows.shared.by_hand import reconcile
from flows.shared.conditions import check_conditions
from flows.shared.notices import tell
from flows.shared.notify import Notice
from flows.shared.params import load_params
from flows.shared.paths import Paths
from flows.shared.promoting import Desk, open_desk
from flows.shared.registry import Version
from flows.shared.review import write_review


@task(name="reconcile", cache_policy=NO_CACHE)
def put_right(desk: Desk) -> list[str]:
    """What a dead process left half done is finished first."""
    return reconcile(desk)


@task(name="register", cache_policy=NO_CACHE)
def register(desk: Desk) -> Version:
    """The version of the payload in the registry."""
    return promotion.register(desk, flow_run_id=str(flow_run.get_id()))


@task(name="gate", cache_policy=NO_CACHE)
def gate(desk: Desk, version: Version) -> GateResult:
    """The verdict over the version, written where reviewers look."""

    def play(folder: Path, digest: str, problem_ids: Collection[str]) -> Path:
        from flows.shared.champion import evaluate_champion  # imports torch: only where a champion must be played

        check_conditions(desk.paths)
        return evaluate_champion(desk.paths, folder, digest, problem_ids)

    thresholds = load_params(desk.paths).gate
    verdict, compared = promotion.gate(desk, thresholds, version, evaluate_champion=play)
    write_review(desk, version, verdict, compared, thresholds)
    create_markdown_artifact(gate_markdown(verdict), key="gate", description="The gate's verdict")
    return verdict


@task(name="promote", cache_policy=NO_CACHE)
def promote(desk: Desk, version: Version, verdict: GateResult) -> PromotionDecision:
    """What was done with the verdict; where approval is required, one to promote waits for a person."""
    if desk.settings.approval == "required" and verdict.decision == "promote":
        return approvals.wait(desk, version, verdict)
    return promotion.promote(desk, version, verdict)


def promote_payload(paths: Paths) -> PromotionDecision:
    """The tasks in order; call it inside a flow."""
    desk = open_desk(paths)
    put_right(desk)
    version = register(desk)
    show_links(desk, version)
    verdict = gate(desk, version)
    decision = promote(desk, version, verdict)
    if decision.promoted:
        tell(paths, Notice("promoted", f"version {version.number} is champion", verdict.reason))
    elif version.number in {one.version for one in approvals.waiting(paths)}:
        tell(paths, Notice("approval-waiting", f"version {version.number} waits for approval", verdict.reason))
    return decision
