"""The ledger on a real MLflow store: crashes at every arrow, races, hands, rollback, tampering."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
from registered import open_desk, promote_and_die, promote_at_once, register
from sqlalchemy import delete, update

from flows.shared import by_hand
from flows.shared.faults import UserFault
from flows.shared.ledger import Ledger, PromotionLost
from flows.shared.ledger_records import Intent
from flows.shared.ledger_store import ENTRIES, HEADS, open_engine
from flows.shared.promoting import Desk, carry_out, drift

ARROWS = (
    "INTENT recorded",
    "between the aliases",
    "ALIAS_SET done",
    "ALIAS_SET recorded",
    "TAGGED done",
    "TAGGED recorded",
    "SERVED done",
    "SERVED recorded",
    "DONE done",
    "DONE recorded",
)


@pytest.fixture(scope="module")
def server() -> Any:
    """Forks processes that have imported everything and opened nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["registered"])
    tests = Path(__file__).resolve().parents[1]
    with pytest.MonkeyPatch.context() as patch:  # it imports what it preloads by this path alone
        patch.setenv("PYTHONPATH", os.pathsep.join([str(tests.parent), str(tests)]))
        forkserver.ensure_running()
    return context


@pytest.fixture
def desk(tmp_path: Path, mlflow_store: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Desk:
    """Version 1 is champion, version 2 was let through by the gate."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{mlflow_store}")
    return _two_versions(tmp_path, request.node.name)


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory, mlflow_store: Path) -> Iterator[Desk]:
    """The same, for promotions that are killed one after another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{mlflow_store}")
        yield _two_versions(tmp_path_factory.mktemp("crashed"), "crashed")


def _two_versions(root: Path, model: str) -> Desk:
    desk = open_desk(root, model)
    register(desk, "one")
    by_hand.promote_version(desk, "1", reason="first", by="ann")
    register(desk, "two")
    return desk


def _champion(desk: Desk) -> str | None:
    found = desk.champion()
    return found.number if found else None


def _states(desk: Desk, by: str) -> list[str]:
    """States of the promotions that `by` began."""
    entries = desk.ledger.entries()
    own = {entry.promotion_id for entry in entries if entry.body.get("by") == by}
    return [entry.state for entry in entries if entry.promotion_id in own]


@pytest.mark.parametrize("arrow", ARROWS)
def test_promotion_killed_at_any_arrow_is_finished_once_by_reconcile(crashed: Desk, server: Any, arrow: str) -> None:
    source = crashed.ledger.champion() or ""
    target = {"1": "2", "2": "1"}[source]
    where = (str(crashed.paths.root), os.environ["MLFLOW_TRACKING_URI"], crashed.registry.model)
    victim = server.Process(target=promote_and_die, args=(*where, target, arrow))
    victim.start()
    victim.join(60)
    assert victim.exitcode == -9
    by_hand.reconcile(crashed)
    by_hand.reconcile(crashed)
    assert _states(crashed, by=f"killed at {arrow}") == ["INTENT", "ALIAS_SET", "TAGGED", "SERVED", "DONE"]
    assert (_champion(crashed), crashed.ledger.champion(), drift(crashed)) == (target, target, None)
    assert crashed.registry.alias("previous") == crashed.registry.version(source)
    assert crashed.registry.version(target).tags["promotion.by"] == f"killed at {arrow}"
    assert by_hand.faults(crashed) == ()


def test_of_two_promotions_at_once_one_wins_and_the_other_says_why(desk: Desk, server: Any) -> None:
    register(desk, "three")
    gun, results = server.Barrier(2), server.Queue()
    common = (str(desk.paths.root), os.environ["MLFLOW_TRACKING_URI"], desk.registry.model)
    racers = [server.Process(target=promote_at_once, args=(*common, number, gun, results)) for number in ("2", "3")]
    for racer in racers:
        racer.start()
    told = dict(results.get(timeout=60) for _ in racers)
    for racer in racers:
        racer.join(60)
    (winner,) = (number for number, said in told.items() if said == "won")
    (complaint,) = (said for said in told.values() if said != "won")
    assert "is under way" in complaint or f"the champion is now version {winner}, by process of {winner}" in complaint
    assert _champion(desk) == desk.ledger.champion() == winner
    assert [entry.state for entry in desk.ledger.entries()].count("DONE") == 2


def test_promotion_that_somebody_else_finished_does_not_move_the_alias_later(desk: Desk) -> None:
    intent = Intent("promote", "1", "2", desk.registry.version("2").digest, "ann", "better", "1")
    promotion_id = desk.ledger.begin(intent)
    carry_out(desk, wait=False)
    moved = []
    assert not desk.ledger.advance(promotion_id, "INTENT", "ALIAS_SET", lambda: moved.append(1) or {})
    assert moved == []


def test_effect_that_fails_is_not_on_record(desk: Desk) -> None:
    promotion_id = desk.ledger.begin(Intent("promote", "1", "2", "d", "ann", "better"))

    def fails() -> dict[str, Any]:
        raise OSError("the registry is away")

    with pytest.raises(OSError, match="away"):
        desk.ledger.advance(promotion_id, "INTENT", "ALIAS_SET", fails)
    assert desk.ledger.entries()[-1].state == "INTENT"


def test_alias_moved_by_hand_is_told_and_can_be_moved_back_or_taken_over(desk: Desk) -> None:
    desk.registry.set_alias("champion", "2")
    (line,) = by_hand.reconcile(desk)
    assert line.startswith("drift: the alias champion names version 2, the ledger says version 1")
    assert _champion(desk) == "2"
    with pytest.raises(UserFault, match="somebody moved it by hand"):
        by_hand.rollback(desk, reason="bad")
    by_hand.reconcile(desk, restore=True)
    assert (_champion(desk), drift(desk)) == ("1", None)
    desk.registry.set_alias("champion", "2")
    by_hand.promote_version(desk, "2", reason="was right")
    assert (desk.ledger.champion(), drift(desk)) == ("2", None)


def test_alias_moved_by_hand_during_a_promotion_aborts_it_and_is_left_alone(desk: Desk) -> None:
    register(desk, "three")
    desk.ledger.begin(Intent("promote", "1", "2", desk.registry.version("2").digest, "ann", "better", "1"))
    desk.registry.set_alias("champion", "3")
    (aborted, told) = by_hand.reconcile(desk)
    assert "ABORTED (the alias was moved by hand to version 3)" in aborted
    assert told.startswith("drift:")
    assert _champion(desk) == "3"


def test_rollback_restores_the_last_good_version_and_quarantines_the_bad_one(desk: Desk) -> None:
    by_hand.promote_version(desk, "2", reason="better")
    assert by_hand.rollback(desk, reason="wrong sums", by="bob").state == "DONE"
    assert (_champion(desk), desk.ledger.champion()) == ("1", "1")
    assert desk.registry.version("2").tags["quarantined"] == "bob: wrong sums"
    assert desk.registry.alias("previous") is None
    with pytest.raises(by_hand.NotPromotable, match=r"version 2 is quarantined \(bob: wrong sums\)"):
        by_hand.promote_version(desk, "2", reason="again")
    with pytest.raises(UserFault, match="nothing to roll back to"):
        by_hand.rollback(desk, reason="worse")
    by_hand.promote_version(desk, "2", reason="the sums were right", force=True)
    assert _champion(desk) == "2"
    assert "quarantined" not in desk.registry.version("2").tags
    assert [line.split()[1:5] for line in by_hand.history_lines(desk) if "->" in line] == [
        ["promote", "-", "->", "1"],
        ["promote", "1", "->", "2"],
        ["rollback", "2", "->", "1"],
        ["promote", "1", "->", "2"],
    ]


def test_rollback_is_told_to_those_who_asked(desk: Desk) -> None:
    desk.paths.operations.parent.mkdir()
    told = desk.paths.root / "told.json"
    command = json.dumps([sys.executable, "-c", f"import sys; open({str(told)!r}, 'w').write(sys.stdin.read())"])
    desk.paths.operations.write_text(f"notify: [{{command: {command}, occasions: [rolled-back]}}]\n")
    by_hand.promote_version(desk, "2", reason="better")
    assert not told.exists()
    by_hand.rollback(desk, reason="wrong sums", by="bob")
    assert json.loads(told.read_text()) == {
        "occasion": "rolled-back",
        "title": "version 1 is champion again, version 2 is quarantined",
        "text": "bob: wrong sums",
    }


def test_rollback_to_a_damaged_payload_is_refused(desk: Desk) -> None:
    by_hand.promote_version(desk, "2", reason="better")
    (desk.registry.folder(desk.registry.version("1")) / "config.json").write_text("")
    with pytest.raises(ValueError, match=r"config\.json"):
        by_hand.rollback(desk, reason="bad")
    assert _champion(desk) == "2"


@pytest.mark.parametrize("verdict", ["reject", "inconclusive"])
def test_version_that_the_gate_held_back_needs_force(desk: Desk, verdict: str) -> None:
    register(desk, "three", verdict=verdict)
    with pytest.raises(by_hand.NotPromotable, match=f"the gate's word on version 3 is {verdict}"):
        by_hand.promote_version(desk, "3", reason="I want it")
    by_hand.promote_version(desk, "3", reason="I want it", force=True)
    assert _champion(desk) == "3"


def test_every_edit_of_the_ledger_is_detected(desk: Desk) -> None:
    by_hand.promote_version(desk, "2", reason="better", by="ann")
    engine = open_engine(f"sqlite:///{desk.paths.ledger_db}")

    def faults_after(statement: Any) -> str:
        with engine.begin() as connection:
            connection.execute(statement)
        return "; ".join(by_hand.faults(desk))

    assert by_hand.faults(desk) == ()
    row, whole = ENTRIES.c.number == 6, {entry.number: entry.body for entry in desk.ledger.entries()}[6]
    for edited in (json.dumps({**whole, "by": "nobody"}), "{}", "not JSON"):
        assert "row 6 was edited" in faults_after(update(ENTRIES).where(row).values(body=edited))
    assert faults_after(update(ENTRIES).where(row).values(body=json.dumps(dict(whole)))) == ""
    assert "the head of the ledger says version 9" in faults_after(update(HEADS).values(champion="9"))
    assert "rows are missing" in faults_after(delete(ENTRIES).where(ENTRIES.c.number == 10))
    assert "row 3 is missing" in faults_after(delete(ENTRIES).where(ENTRIES.c.number == 3))


def test_promotion_waits_for_the_server_that_is_configured_and_is_taken_back_when_it_refuses(desk: Desk) -> None:
    served = open_desk(desk.paths.root, desk.registry.model, served_within=60)
    digest = desk.registry.version("2").digest
    intent = Intent("promote", "1", "2", digest, "ann", "better", "1", reports_before=desk.ledger.last_report())
    served.ledger.begin(intent)
    waiting = carry_out(served, wait=False)
    assert waiting is not None
    assert (waiting.state, _champion(desk)) == ("TAGGED", "2")
    with pytest.raises(PromotionLost, match="promote of version 2 by ann is under way"):
        by_hand.promote_version(served, "2", reason="again", force=True)
    by_hand.report_served(served, "2", server="node-1", fault="golden prompt 3 failed")
    ended = carry_out(served, wait=True)
    assert ended is not None
    assert (ended.state, ended.reason) == ("ABORTED", "node-1 could not serve it: golden prompt 3 failed")
    assert (_champion(desk), desk.ledger.champion()) == ("1", "1")
    served.ledger.begin(
        Intent("promote", "1", "2", digest, "ann", "better", "1", reports_before=desk.ledger.last_report())
    )
    carry_out(served, wait=False)
    by_hand.report_served(served, "2", server="node-1")
    ended = carry_out(served, wait=True)
    assert ended is not None
    assert ended.state == "DONE"
    (report,) = (entry.body["server"] for entry in desk.ledger.entries() if "server" in entry.body)
    assert report == "node-1"


def test_promotion_of_a_server_that_stays_silent_is_taken_back_but_a_rollback_is_not(desk: Desk) -> None:
    silent = open_desk(desk.paths.root, desk.registry.model, served_within=1e-3)
    ended = by_hand.promote_version(silent, "2", reason="better")
    assert (ended.state, ended.reason) == ("ABORTED", "no server reported it within 0.001 s")
    assert _champion(desk) == "1"
    by_hand.promote_version(desk, "2", reason="better")
    assert by_hand.rollback(silent, reason="bad").state == "DONE"
    assert _champion(desk) == "1"


def test_without_a_server_the_history_says_that_serving_was_skipped(desk: Desk) -> None:
    lines = "\n".join(by_hand.history_lines(desk))
    assert "by        ann" in lines
    assert "why       first" in lines
    assert "gate      promote" in lines
    assert "served    no server is configured" in lines


def test_ledger_that_is_begun_late_takes_the_champion_over(desk: Desk, tmp_path: Path) -> None:
    late = Ledger(f"sqlite:///{tmp_path / 'late.db'}", desk.registry.model)
    late.found("1", desk.registry.version("1").digest)
    late.found("2", "another time")
    assert late.champion() == "1"
    assert [entry.body["kind"] for entry in late.entries()] == ["adopt"]
    assert late.faults() == ()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("mysql://x/y", "QANAT_LEDGER_URI: "),
        ("sqlite://", "would be forgotten"),
        ("nonsense", "not a database"),
        ("sqlite:////proc/ledger.db", "cannot be opened: unable to open database file"),
    ],
)
def test_address_that_cannot_hold_a_ledger_is_refused(address: str, message: str) -> None:
    with pytest.raises(UserFault, match=message):
        open_engine(address)
