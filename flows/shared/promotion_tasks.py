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

from components.schema.report import GateResult, PromotionDecision
from flows.shared import approvals, promotion
from flows.shared.notices import tell
from flows.shared.notify import Notice
from flows.shared.params import load_params
from flows.shared.paths import Paths
from flows.shared.registry import Registry, Version
from flows.shared.registry_settings import RegistrySettings, load_registry_settings


@task(name="register", cache_policy=NO_CACHE)
def register(paths: Paths, registry: Registry, settings: RegistrySettings) -> Version:
    """The version of the payload in the registry."""
    return promotion.register(paths, registry, settings, flow_run_id=str(flow_run.get_id()))


@task(name="gate", cache_policy=NO_CACHE)
def gate(paths: Paths, registry: Registry, settings: RegistrySettings, version: Version) -> GateResult:
    """The verdict over the version."""

    def play(folder: Path, digest: str, problem_ids: Collection[str]) -> Path:
        from flows.shared.champion import evaluate_champion  # imports torch: only where a champion must be played

        return evaluate_champion(paths, folder, digest, problem_ids)

    thresholds = load_params(paths).gate
    verdict = promotion.gate(paths, registry, settings, thresholds, version, evaluate_champion=play)
    create_markdown_artifact(_report(verdict), key="gate", description="The gate's verdict")
    return verdict


@task(name="promote", cache_policy=NO_CACHE)
def promote(
    paths: Paths, registry: Registry, settings: RegistrySettings, version: Version, verdict: GateResult
) -> PromotionDecision:
    """What was done with the verdict; where approval is required, one to promote waits for a person."""
    if settings.approval == "required" and verdict.decision == "promote":
        return approvals.wait(paths, registry, settings, version, verdict)
    return promotion.promote(paths, registry, settings, version, verdict)


def promote_payload(paths: Paths) -> PromotionDecision:
    """The three tasks in order; call it inside a flow."""
    settings = load_registry_settings(paths)
    registry = Registry(paths, experiment=settings.experiment, model=settings.model)
    version = register(paths, registry, settings)
    verdict = gate(paths, registry, settings, version)
    decision = promote(paths, registry, settings, version, verdict)
    if decision.promoted:
        tell(paths, Notice("promoted", f"version {version.number} is champion", verdict.reason))
    elif version.number in {one.version for one in approvals.waiting(paths)}:
        tell(paths, Notice("approval-waiting", f"version {version.number} waits for approval", verdict.reason))
    return decision


def _report(verdict: GateResult) -> str:
    head = f"**{verdict.decision}**: {verdict.challenger} against {verdict.champion}\n\n{verdict.reason}\n\n"
    rows = [
        f"| {name} | {value.value:+.4f} | {value.low:+.4f} | {value.high:+.4f} | {value.n} |"
        for name, value in verdict.differences.items()
    ]
    return head + "\n".join(["| difference | value | low | high | n |", "|---|---|---|---|---|", *rows])
