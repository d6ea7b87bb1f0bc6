"""Signed versions: what is registered with a key is promoted where the key is trusted, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest
from registered import decide, evaluate, open_desk, register, train
from signing_keys import new_key

from flows.shared import by_hand
from flows.shared.faults import UserFault
from flows.shared.paths import Paths
from flows.shared.promoting import Desk
from flows.shared.signatures import SIGNATURE_TAG, Unsigned


@pytest.fixture
def trusted(tmp_path: Path) -> str:
    return new_key(tmp_path / "ours", who="ours")


def _desk(project: Paths, name: str, trusted: str, key: Path | None) -> Desk:
    return open_desk(project.root, name, trusted_keys=(trusted,), signing_key=None if key is None else str(key))


def test_what_is_registered_with_a_trusted_key_is_promoted(project: Paths, trusted: str, tmp_path: Path) -> None:
    desk = _desk(project, "signed", trusted, tmp_path / "ours")
    train(desk, "one")
    evaluate(desk, final=0.9, clone=0.5)
    assert decide(desk).promoted


def test_what_nobody_trusted_signed_is_not_promoted_by_gate_hand_or_force(
    project: Paths, trusted: str, tmp_path: Path
) -> None:
    new_key(tmp_path / "theirs", who="theirs")
    for key, reason in ((None, "is not signed"), (tmp_path / "theirs", "of none of the trusted_keys")):
        desk = _desk(project, f"unsigned-{key is None}", trusted, key)
        train(desk, "one")
        evaluate(desk, final=0.9, clone=0.5)
        with pytest.raises(Unsigned, match=reason):
            decide(desk)
        with pytest.raises(Unsigned, match=reason):
            by_hand.promote_version(desk, "1", reason="I want it", force=True)
        assert desk.champion() is None


def test_a_signature_is_of_one_payload(project: Paths, trusted: str, tmp_path: Path) -> None:
    desk = _desk(project, "moved", trusted, tmp_path / "ours")
    signed = register(desk, "one")
    bare = open_desk(project.root, "moved")
    other = register(bare, "two")
    desk.registry.tag_version(other.number, {SIGNATURE_TAG: signed.tags[SIGNATURE_TAG]})
    with pytest.raises(Unsigned, match="another payload"):
        by_hand.promote_version(desk, other.number, reason="x")


def test_a_version_registered_before_there_was_a_key_is_signed_when_it_is_registered_again(
    project: Paths, trusted: str, tmp_path: Path
) -> None:
    unsigned = register(open_desk(project.root, "later"), "one")
    desk = _desk(project, "later", trusted, tmp_path / "ours")
    with pytest.raises(Unsigned):
        by_hand.promote_version(desk, unsigned.number, reason="x")
    assert register(desk, "one").number == unsigned.number
    assert by_hand.promote_version(desk, unsigned.number, reason="x").state == "DONE"


def test_a_way_back_to_an_unsigned_version_is_refused(project: Paths, trusted: str, tmp_path: Path) -> None:
    before = open_desk(project.root, "back")
    by_hand.promote_version(before, register(before, "one").number, reason="x")
    desk = _desk(project, "back", trusted, tmp_path / "ours")
    by_hand.promote_version(desk, register(desk, "two").number, reason="y")
    with pytest.raises(Unsigned, match="version 1 is not signed"):
        by_hand.rollback(desk, reason="z")


def test_a_key_that_is_missing_or_no_key_is_a_clear_fault(project: Paths, trusted: str, tmp_path: Path) -> None:
    desk = _desk(project, "nokey", trusted, tmp_path / "absent")
    with pytest.raises(UserFault, match=r"mlflow/registry\.yaml: signing_key: .*absent: No such file"):
        register(desk, "one")
    rubbish = open_desk(project.root, "rubbish", trusted_keys=("rubbish",), signing_key=str(tmp_path / "ours"))
    version = register(rubbish, "one")
    with pytest.raises(UserFault, match=r"mlflow/registry\.yaml: trusted_keys: 'rubbish' is not a public key"):
        by_hand.promote_version(rubbish, version.number, reason="x")
