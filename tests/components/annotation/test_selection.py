"""What would teach most comes first."""

from __future__ import annotations

from dataclasses import replace

from annotating import alternatives, answer, case

from components.annotation.case import Alternative, Complaint
from components.annotation.selection import MARGIN, rank, reasons

CERTAIN = (Alternative(answer("a"), 0.9, 0.9, 5), replace(alternatives()[1], q=-0.2))
DOWN = Complaint("f", "r", "down", "It is y.", "?", "x")


def _names(**change: object) -> list[str]:
    return [reason.name for reason in reasons(case(**change))]


def test_a_case_in_which_all_agree_has_no_reason() -> None:
    assert _names(alternatives=CERTAIN) == []


def test_a_small_margin_between_decisions_speaks_for_a_case_and_the_smaller_the_more() -> None:
    first, second, _ = alternatives()
    near, nearer = (
        next(reasons(case(alternatives=(replace(first, q=0.5 + gap), second)))) for gap in (MARGIN * 0.9, MARGIN * 0.1)
    )
    assert near.name == nearer.name == "small margin"
    assert nearer.points > near.points


def test_arguments_of_one_tool_that_are_equally_good_are_no_doubt() -> None:
    first = alternatives()[0]
    assert _names(alternatives=(first, first)) == []


def test_disagreement_needs_a_policy_that_is_known_and_was_tried() -> None:
    first, second, _ = alternatives()
    far = replace(second, q=0.9)
    assert _names(alternatives=(first, far)) == ["disagreement"]
    assert _names(alternatives=(replace(first, prior=None), replace(far, prior=None))) == []
    assert _names(alternatives=(replace(first, q=None), far)) == []


def test_feedback_comes_before_doubts_before_decoys_before_the_rest() -> None:
    cases = [
        case(1, alternatives=CERTAIN),
        case(2, alternatives=CERTAIN, family="decoy"),
        case(3),
        case(4, alternatives=CERTAIN, feedback=(DOWN,)),
    ]
    assert [cases.index(one.case) for one in rank(cases)] == [3, 2, 1, 0]
