"""What the gate would promote waits for a person where that is asked for, and nothing else waits with it."""

from __future__ import annotations

import pytest

from components.records.manifest import write_manifest
from components.schema.report import GateResult
from flows.approve import settle, waiting_lines
from flows.shared import approvals, promotion
from flows.shared.approvals import NothingWaits
from flows.shared.paths import Paths
from flows.shared.registry import Registry, Version
from flows.shared.registry_settings import RegistrySettings, load_registry_settings

BETTER = GateResult("promote", "better", "version 1", "clone", {})
TEXT = "experiment: test\nmodel: {model}\napproval: required\nrequired_tags: [payload.sha256]\n"


@pytest.fixture
def settings(project: Paths) -> RegistrySettings:
    project.registry.write_text(TEXT.format(model=project.root.name))
    return load_registry_settings(project)


@pytest.fixture
def registry(project: Paths, settings: RegistrySettings) -> Registry:
    return Registry(project, experiment=settings.experiment, model=settings.model)


def _version(registry: Registry, project: Paths, weights: str) -> Version:
    folder = project.root / "payload" / weights
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(weights)
    digest = write_manifest(folder)
    run_id = registry.open_run("distil", run_id=None, tags={})
    return registry.register(folder, run_id=run_id, tags={"payload.sha256": str(digest or weights)})


def test_approved_version_becomes_champion_and_keeps_who_said_so(
    project: Paths, registry: Registry, settings: RegistrySettings
) -> None:
    version = _version(registry, project, "one")
    decision = approvals.wait(project, registry, settings, version, BETTER)
    assert not decision.promoted
    assert registry.alias("champion") is None
    assert waiting_lines(project)[0] == "Waits for approval: version 1 against clone. better"
    assert settle(project, "1", approved=True, by="ann", why="looked at the slices").promoted
    champion = registry.alias("champion")
    assert champion is not None
    assert champion.tags["approval"] == "approved by ann: looked at the slices"
    assert waiting_lines(project) == []
    with pytest.raises(NothingWaits, match=r"no verdict over version 1 waits for approval \(waiting: none\)"):
        settle(project, "1", approved=True, by="ann", why="again")


def test_rejected_version_is_not_promoted_and_does_not_wait_again(
    project: Paths, registry: Registry, settings: RegistrySettings
) -> None:
    version = _version(registry, project, "one")
    approvals.wait(project, registry, settings, version, BETTER)
    decision = settle(project, "1", approved=False, by="ann", why="too slow")
    assert (decision.promoted, decision.gate.reason) == (False, "Rejected by ann: too slow")
    approvals.wait(project, registry, settings, registry.version("1"), BETTER)
    assert approvals.waiting(project) == ()
    assert registry.alias("champion") is None


def test_verdict_over_a_champion_that_was_replaced_since_is_refused(
    project: Paths, registry: Registry, settings: RegistrySettings
) -> None:
    waits, other = _version(registry, project, "one"), _version(registry, project, "two")
    approvals.wait(project, registry, settings, waits, BETTER)
    promotion.promote(project, registry, settings, other, BETTER)
    with pytest.raises(NothingWaits, match="compared with clone, the champion is version 2 now"):
        settle(project, "1", approved=True, by="ann", why="late")
    assert approvals.waiting(project) != ()
