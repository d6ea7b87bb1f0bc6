"""What is entered becomes the annotation that it stands for: once, checked, or explained."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from annotating import Clock, call, case, workplace, written

from components.annotation.case import Alternative, Complaint, Turn
from components.annotation.entries import BadEntry
from components.annotation.remembered import Remembered
from components.annotation.workplace import Workplace
from components.schema.annotation import AnnotatedAnswer, AnnotatedCall, Demonstration, Preference


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return workplace(tmp_path, [case()])


def _one(place: Workplace) -> Demonstration | Preference:
    (row,) = written(place)
    assert isinstance(row, Demonstration | Preference)
    return row


def test_accepting_writes_the_proposed_calls_and_an_answer_that_was_judged_correct(place: Workplace) -> None:
    assert place.save(case(), "accept", {}, "Ada").new
    row = _one(place)
    assert isinstance(row, Demonstration)
    assert row.steps == (AnnotatedCall(tool="search", arguments={"query": "area of Chad"}),)
    assert (row.answer, row.annotator, row.prompt) == ("1,284,000", "Ada", case().prompt)


def test_accepting_a_decision_whose_answer_was_wrong_keeps_the_models_words_out(tmp_path: Path) -> None:
    one = case(alternatives=case().alternatives[1:])
    place = workplace(tmp_path, [one])
    place.save(one, "accept", {}, "Ada")
    row = _one(place)
    assert isinstance(row, Demonstration)
    assert (row.steps[0].tool, row.answer) == ("python", None)


def test_a_correction_writes_the_calls_up_to_the_first_that_was_left_out(place: Workplace) -> None:
    entered = {"call0": "python", "call0.python.code": "3 * 4", "call0.search.query": "left over", "answer": " 12 "}
    place.save(case(), "correct", entered, "Ada")
    row = _one(place)
    assert isinstance(row, Demonstration)
    assert row.steps == (AnnotatedCall(tool="python", arguments={"code": "3 * 4"}),)
    assert row.answer == "12"


def test_a_preference_names_both_actions_and_how_sure_one_is(place: Workplace) -> None:
    place.save(case(), "prefer", {"better": "3", "worse": "2", "confidence": "surely"}, "Ada")
    row = _one(place)
    assert isinstance(row, Preference)
    assert row.chosen == AnnotatedAnswer(answer=case().alternatives[2].turn.text)
    assert row.rejected == AnnotatedCall(tool="python", arguments={"code": "2 + 2"})
    assert row.confidence == 0.95


def test_no_tool_needed_is_a_demonstration_without_calls(place: Workplace) -> None:
    place.save(case(), "no_tool", {}, "Ada")
    row = _one(place)
    assert isinstance(row, Demonstration)
    assert (row.steps, row.answer) == ((), None)


def test_bad_arguments_are_refused_with_their_field_and_the_case_stays_open(place: Workplace) -> None:
    saved = place.save(case(), "correct", {"call0": "python", "call0.python.code": " "}, "Ada")
    assert [reject.field for reject in saved.rejects] == ["steps[0].arguments.code"]
    assert written(place) == ()
    assert place.open(case(), "Ada")


@pytest.mark.parametrize(
    ("verdict", "entered", "complaint"),
    [
        ("prefer", {}, "better: no action was chosen"),
        ("prefer", {"better": "1", "worse": "1"}, "the same action"),
        ("prefer", {"better": "9", "worse": "1"}, "1 to 3"),
        ("prefer", {"better": "2", "worse": "1", "confidence": "very"}, "confidence"),
        ("correct", {"call0": "dance"}, "there is no tool 'dance'"),
        ("correct", {"key": "Chad"}, "reference: is empty"),
    ],
)
def test_a_form_that_says_nothing_is_explained(
    place: Workplace, verdict: str, entered: dict[str, str], complaint: str
) -> None:
    with pytest.raises(BadEntry, match=complaint):
        place.save(case(), verdict, entered, "Ada")  # type: ignore[arg-type]
    assert written(place) == ()


def test_a_broken_call_can_be_neither_accepted_nor_preferred(tmp_path: Path) -> None:
    broken = Alternative(Turn("python", "<tool_call>{", None, None), 0.9, 0.0, 1)
    one = case(alternatives=(broken, *case().alternatives))
    place = workplace(tmp_path, [one])
    with pytest.raises(BadEntry, match="broken"):
        place.save(one, "accept", {}, "Ada")
    with pytest.raises(BadEntry, match="broken"):
        place.save(one, "prefer", {"better": "2", "worse": "1"}, "Ada")


def test_a_served_question_without_a_known_answer_needs_one(tmp_path: Path) -> None:
    said = Complaint("f", "r", "down", None, "Who?", "x")
    one = case(alternatives=(), known_answer=None, feedback=(said,), prompt="Who?")
    place = workplace(tmp_path, [one])
    with pytest.raises(BadEntry, match="no known answer"):
        place.save(one, "correct", {}, "Ada")
    assert place.save(one, "correct", {"reference": "It was Ada.", "key": "Ada"}, "Ada").new
    assert _one(place).responses == ("r",), "the annotation leads back to the answer that was complained of"


def test_a_form_sent_twice_at_once_adds_one_row(place: Workplace) -> None:
    with ThreadPoolExecutor(8) as pool:
        saved = list(pool.map(lambda _: place.save(case(), "accept", {}, "Ada"), range(8)))
    assert sum(one.new for one in saved) == 1
    assert not any(one.rejects for one in saved)
    assert len(written(place)) == 1


def test_after_a_crash_between_writing_and_striking_off_the_row_is_not_written_again(tmp_path: Path) -> None:
    clock = Clock()
    place = workplace(tmp_path, [case()], clock=clock)
    place.save(case(), "accept", {}, "Ada")
    (tmp_path / "claims.db").unlink()  # what the crash lost
    clock.move(5)
    again = workplace(tmp_path, [case()], clock=clock)
    saved = again.save(case(), "no_tool", {}, "Ada")
    assert (saved.new, saved.rejects) == (False, ())
    assert len(written(again)) == 1
    assert again.next_case("Ada") is None


def test_an_entry_under_an_expired_claim_counts(tmp_path: Path) -> None:
    clock = Clock()
    place = workplace(tmp_path, [case()], clock=clock)
    assert place.next_case("Ada") == case().case_id
    clock.move(10_000)
    assert place.next_case("Bob") == case().case_id
    assert place.save(case(), "accept", {}, "Ada").new
    assert place.save(case(), "accept", {}, "Bob").new


def test_the_share_of_doubled_cases_is_about_what_was_asked(tmp_path: Path) -> None:
    cases = [case(number) for number in range(300)]
    place = workplace(tmp_path, cases, doubled=0.2)
    for one in cases:
        place.claims.end(one.case_id, "Ada", "saved")
    left = 0
    while (chosen := place.next_case("Bob")) is not None:
        place.claims.end(chosen, "Bob", "saved")
        left += 1
    assert 35 <= left <= 85


def test_other_alternatives_make_another_case(tmp_path: Path) -> None:
    one = case()
    other = replace(one, alternatives=(*one.alternatives, Alternative(call("search", "else"), 0.0, None, 0)))
    assert one.case_id != other.case_id
    same = replace(one, alternatives=tuple(replace(found, q=0.0) for found in one.alternatives))
    assert one.case_id == same.case_id


def test_what_is_made_of_files_is_made_again_when_one_changes(tmp_path: Path) -> None:
    file, made = tmp_path / "a", []
    value = Remembered(lambda: (file,), lambda: made.append(1) or len(made))
    assert [value(), value()] == [1, 1]
    file.write_text("x")
    assert value() == 2
    os.utime(file, ns=(1, 1))
    assert value() == 3
    file.unlink()
    assert value() == 4
