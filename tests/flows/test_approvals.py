"""What the gate would promote waits for a person where that is asked for, and nothing else waits with it."""

from __future__ import annotations

import pytest

from components.records.manifest import write_manifest
from components.schema.report import GateResult
from flows.approve import settle, waiting_lines
from flows.shared import approvals, promotion
from flows.shared.approvals import NothingWaits
from flows.shared.by_hand import NotPromotable, history_lines, promote_version
from flows.shared.paths import Paths
from flows.shared.promoting import Desk, open_desk
from flows.shared.registry import Version

BETTER = GateResult("promote", "better", "version 1", "clone", {})
TEXT = "experiment: test\nmodel: {model}\napproval: required\nrequired_tags: [payload.sha256]\n"


@pytest.fixture
def desk(project: Paths) -> Desk:
    project.registry.write_text(TEXT.format(model=project.root.name))
    return open_desk(project)


def _version(desk: Desk, weights: str) -> Version:
    folder = desk.paths.root / "payload" / weights
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(weights)
    digest = write_manifest(folder)
    run_id = desk.registry.open_run("distil", run_id=None, tags={})
    return desk.registry.register(folder, run_id=run_id, tags={"payload.sha256": str(digest or weights)})


def test_approved_version_becomes_champion_and_keeps_who_said_so(desk: Desk) -> None:
    version = _version(desk, "one")
    decision = approvals.wait(desk, version, BETTER)
    assert not decision.promoted
    assert desk.champion() is None
    assert waiting_lines(desk.paths)[0] == "Waits for approval: version 1 against clone. better"
    assert settle(desk.paths, "1", approved=True, by="ann", why="looked at the slices").promoted
    champion = desk.champion()
    assert champion is not None
    assert champion.tags["approval"] == "approved by ann: looked at the slices"
    assert "  by        ann" in history_lines(desk)
    assert desk.ledger.champion() == "1"
    assert waiting_lines(desk.paths) == []
    with pytest.raises(NothingWaits, match=r"no verdict over version 1 waits for approval \(waiting: none\)"):
        settle(desk.paths, "1", approved=True, by="ann", why="again")


def test_rejected_version_is_not_promoted_and_does_not_wait_again(desk: Desk) -> None:
    version = _version(desk, "one")
    approvals.wait(desk, version, BETTER)
    decision = settle(desk.paths, "1", approved=False, by="ann", why="too slow")
    assert (decision.promoted, decision.gate.reason) == (False, "Rejected by ann: too slow")
    approvals.wait(desk, desk.registry.version("1"), BETTER)
    assert approvals.waiting(desk.paths) == ()
    assert desk.champion() is None


def test_verdict_over_a_champion_that_was_replaced_since_is_refused(desk: Desk) -> None:
    waits, other = _version(desk, "one"), _version(desk, "two")
    approvals.wait(desk, waits, BETTER)
    promotion.promote(desk, other, BETTER)
    with pytest.raises(NothingWaits, match="compared with clone, the champion is version 2 now"):
        settle(desk.paths, "1", approved=True, by="ann", why="late")
    assert approvals.waiting(desk.paths) != ()


def test_a_person_cannot_pass_by_the_approval_unless_by_name_and_on_record(desk: Desk) -> None:
    version = _version(desk, "one")
    desk.registry.tag_version(version.number, {"gate.decision": "promote"})
    approvals.wait(desk, version, BETTER)
    for asked in ({}, {"now": True}, {"by": "bob"}, {"force": True}):
        with pytest.raises(NotPromotable, match=r"approval is required .*nobody has approved it.*`qanat approve 1"):
            promote_version(desk, "1", reason="I want it", **asked)  # type: ignore[arg-type]
    assert desk.champion() is None
    assert promote_version(desk, "1", reason="the site is down", by="bob", now=True).state == "DONE"
    assert "  approval  done without by bob: the site is down" in history_lines(desk)
    assert approvals.waiting(desk.paths) == ()


def test_a_rejected_version_needs_the_same_word_and_an_approved_one_needs_none(desk: Desk) -> None:
    for weights, approved in (("one", False), ("two", True)):
        version = _version(desk, weights)
        desk.registry.tag_version(version.number, {"gate.decision": "promote"})
        desk.registry.tag_version(version.number, {"approval": f"{'approved' if approved else 'rejected'} by ann: x"})
    with pytest.raises(NotPromotable, match="of version 1: rejected by ann: x"):
        promote_version(desk, "1", reason="I want it")
    assert promote_version(desk, "2", reason="as approved").state == "DONE"
