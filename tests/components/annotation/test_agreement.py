"""Agreement is what its definition says."""

from __future__ import annotations

from pathlib import Path

import pytest
from annotating import case, workplace

from components.annotation.agreement import Said, agreements, said_in
from components.records.annotations import annotation_files


def _said(who: str, decisions: str) -> list[Said]:
    return [Said(who, f"p{place}", {"a": "answer", "s": "search"}[one]) for place, one in enumerate(decisions)]


def test_kappa_is_cohens() -> None:
    # Cohen 1960: p_o = 0.7, p_e = 0.5 * 0.6 + 0.5 * 0.4 = 0.5, kappa = 0.2 / 0.5
    (pair,) = agreements([*_said("x", "aaaaasssss"), *_said("y", "aaaassaass")])
    assert (pair.first, pair.second, pair.prompts) == ("x", "y", 10)
    assert pair.equal == pytest.approx(0.7)
    assert pair.kappa == pytest.approx(0.4)


def test_agreement_that_chance_explains_has_no_kappa() -> None:
    (pair,) = agreements([*_said("x", "aa"), *_said("y", "aa")])
    assert (pair.equal, pair.kappa) == (1.0, None)


def test_only_prompts_of_both_count_and_the_last_word_of_each() -> None:
    said = [Said("x", "p0", "search"), *_said("x", "as"), *_said("y", "a"), Said("z", "other", "answer")]
    (pair,) = agreements(said)
    assert (pair.prompts, pair.equal) == (1, 1.0)


def test_decisions_are_read_from_what_annotators_wrote(tmp_path: Path) -> None:
    place, one = workplace(tmp_path, [case()]), case()
    place.save(one, "accept", {}, "Ada")
    place.save(one, "no_tool", {}, "Bob")
    place.save(one, "prefer", {"better": "2", "worse": "1"}, "Cy")
    said = {row.annotator: row.decision for file in annotation_files(place.intake.folder) for row in said_in(file)}
    assert said == {"Ada": "search", "Bob": "answer", "Cy": "python"}
