"""Nobody is given what another works on; nobody is blocked by one who left."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.annotation.claims import Claims, Wanted

CASES = [Wanted(f"c{number}", 1) for number in range(40)]


@pytest.fixture
def claims(tmp_path: Path) -> Claims:
    return Claims(tmp_path / "claims.db", seconds=60)


def test_two_annotators_get_different_cases_and_each_goes_on_with_the_own(claims: Claims) -> None:
    assert [claims.next(CASES, who, 0.0) for who in ("Ada", "Bob", "Ada", "Bob")] == ["c0", "c1", "c0", "c1"]


def test_a_claim_expires_and_the_case_goes_to_the_next(claims: Claims) -> None:
    claims.next(CASES[:1], "Ada", 0.0)
    assert claims.next(CASES[:1], "Bob", 59.0) is None
    assert claims.next(CASES[:1], "Bob", 60.0) == "c0"


def test_what_was_annotated_or_skipped_does_not_come_back_to_the_same_person(claims: Claims) -> None:
    claims.end("c0", "Ada", "saved")
    claims.end("c1", "Ada", "skipped")
    assert claims.next(CASES[:2], "Ada", 0.0) is None
    assert claims.next(CASES[:2], "Bob", 0.0) == "c1"


def test_a_case_for_two_is_given_to_two(claims: Claims) -> None:
    double = [Wanted("c0", 2)]
    assert [claims.next(double, who, 0.0) for who in ("Ada", "Bob", "Cy")] == ["c0", "c0", None]


def test_a_skipped_case_may_be_annotated_after_all_and_stays_annotated(claims: Claims) -> None:
    for how in ("skipped", "saved", "skipped"):
        claims.end("c0", "Ada", how)
    assert claims.ended("c0", "Ada") == "saved"
    assert claims.progress(0.0).done == {"c0"}
    assert claims.progress(0.0).skipped == {}


def test_many_at_once_share_the_queue_without_overlap(tmp_path: Path) -> None:
    file = tmp_path / "claims.db"

    def work(who: str) -> list[str]:
        mine, claims = [], Claims(file, seconds=60)
        while (chosen := claims.next(CASES, who, 0.0)) is not None:
            mine.append(chosen)
            claims.end(chosen, who, "saved")
        return mine

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(work, [f"person {number}" for number in range(8)]))
    assert Counter(name for mine in done for name in mine) == Counter(one.case_id for one in CASES)
