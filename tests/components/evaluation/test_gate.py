"""The gate promotes what is superior, or cheaper and not inferior, and lets no guard be bought off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from components.evaluation.gate import decide
from components.evaluation.rows import EvalRow
from components.evaluation.settings import GateSettings
from components.records.codec import from_json, to_json
from components.schema.report import GateResult

SETTINGS = GateSettings(resamples=1000)


def rows(
    success: Callable[[int], bool | None],
    *,
    cost: Callable[[int], float] = lambda i: 1.0,
    invalid: Callable[[int], int] = lambda i: 0,
    unsafe: Callable[[int], int] = lambda i: 0,
    seconds: Callable[[int], float] = lambda i: 0.4,
    n: int = 200,
) -> Sequence[EvalRow]:
    return [
        EvalRow(
            policy="p",
            problem_id=str(i),
            group=str(i),
            slices=("even" if i % 2 == 0 else "odd",),
            success=success(i),
            calls=1,
            cost=cost(i),
            attempts=1,
            invalid=invalid(i),
            decision="search",
            answer="x",
            unsafe=unsafe(i),
            seconds=seconds(i),
        )
        for i in range(n)
    ]


def test_a_more_accurate_challenger_is_promoted_even_if_dearer() -> None:
    result = decide(rows(lambda i: i % 10 > 0, cost=lambda i: 2.0), rows(lambda i: i % 10 > 2), SETTINGS)
    assert result.decision == "promote"
    assert "Superior" in result.reason
    assert result.differences["eval/accuracy"].low > 0


def test_a_cheaper_challenger_of_equal_accuracy_is_promoted() -> None:
    result = decide(rows(lambda i: i % 5 > 0, cost=lambda i: 0.4), rows(lambda i: i % 5 > 0), SETTINGS)
    assert result.decision == "promote"
    assert "Cheaper" in result.reason


def test_a_cheaper_challenger_that_is_inferior_is_rejected() -> None:
    result = decide(rows(lambda i: i % 5 > 1, cost=lambda i: 0.4), rows(lambda i: i % 5 > 0), SETTINGS)
    assert result.decision == "reject"


def test_the_champion_itself_is_inconclusive() -> None:
    same = rows(lambda i: i % 5 > 0)
    assert decide(same, same, SETTINGS).decision == "inconclusive"


def test_a_small_noisy_gain_is_inconclusive() -> None:
    result = decide(rows(lambda i: i % 3 > 0 or i == 0, n=30), rows(lambda i: i % 3 > 0, n=30), SETTINGS)
    assert result.decision == "inconclusive"


def test_more_invalid_calls_reject_a_more_accurate_challenger() -> None:
    result = decide(rows(lambda i: True, invalid=lambda i: int(i % 5 == 0)), rows(lambda i: i % 5 > 1), SETTINGS)
    assert result.decision == "reject"
    assert "invalid" in result.reason


def test_a_rise_of_invalid_calls_that_is_not_clear_withholds_promotion() -> None:
    result = decide(rows(lambda i: True, invalid=lambda i: int(i < 3)), rows(lambda i: i % 5 > 1), SETTINGS)
    assert result.decision == "inconclusive"


def test_a_slice_that_clearly_loses_rejects_an_overall_gain() -> None:
    challenger = rows(lambda i: i % 2 == 0 or i % 10 > 4)
    champion = rows(lambda i: i % 2 == 1)
    result = decide(challenger, champion, SETTINGS)
    assert result.differences["eval/accuracy"].low > 0
    assert result.decision == "reject"
    assert "slice odd" in result.reason


def test_tiny_slices_guard_nothing() -> None:
    result = decide(
        rows(lambda i: i % 2 == 0 or i % 10 > 4),
        rows(lambda i: i % 2 == 1),
        GateSettings(resamples=1000, minimum_slice_problems=101),
    )
    assert result.decision == "promote"


def test_slice_may_have_a_margin_of_its_own() -> None:
    challenger, champion = rows(lambda i: i % 2 == 0 or i % 10 > 4), rows(lambda i: i % 2 == 1)
    lenient = GateSettings(resamples=1000, slice_margins={"odd": 0.9})
    assert decide(challenger, champion, lenient).decision == "promote"


def test_proof_of_slices_withholds_what_harm_lets_through() -> None:
    challenger, champion = rows(lambda i: i % 10 > 0 or i % 20 == 0), rows(lambda i: i % 10 > 2)
    assert decide(challenger, champion, SETTINGS).decision == "promote"
    proof = GateSettings(resamples=1000, slice_rule="proof", slice_margin=0.0, slice_margins={"even": 0.2})
    result = decide(rows(lambda i: i % 10 > 1, n=400), rows(lambda i: i % 10 > 1 and i % 4 > 0, n=400), proof)
    assert result.decision == "inconclusive"
    assert "slice odd may lose more than allowed" in result.reason


@pytest.mark.parametrize(
    ("worse", "name"),
    [
        ({"unsafe": lambda i: int(i % 4 == 0)}, "unsafe calls"),
        ({"cost": lambda i: 5.0 if i % 8 == 0 else 1.0}, "p95 cost"),
        ({"seconds": lambda i: 3.0 if i % 8 == 0 else 0.4}, "p95 seconds"),
        ({"invalid": lambda i: int(i % 5 == 0)}, "invalid calls"),
    ],
)
def test_guard_that_is_broken_rejects_a_more_accurate_challenger(worse: dict[str, Any], name: str) -> None:
    better, champion = rows(lambda i: True, **worse), rows(lambda i: i % 5 > 1)
    assert decide(rows(lambda i: True), champion, SETTINGS).decision == "promote"
    result = decide(better, champion, SETTINGS)
    assert result.decision == "reject"
    assert result.reason.startswith(f"Guard broken: {name} rise by")
    assert [guard.name for guard in result.guards if guard.state == "broken"] == [name]


def test_a_single_unsafe_call_more_withholds_promotion() -> None:
    result = decide(rows(lambda i: True, unsafe=lambda i: int(i == 7)), rows(lambda i: i % 5 > 1), SETTINGS)
    assert result.decision == "inconclusive"
    assert "unsafe calls" in result.reason


def test_student_of_the_same_compute_must_be_beaten() -> None:
    better, champion = rows(lambda i: i % 10 > 0), rows(lambda i: i % 10 > 3)
    for share, decision in ((4, "promote"), (0, "inconclusive"), (-1, "reject")):
        student = rows(lambda i, share=share: i % 10 > share)
        assert decide(better, champion, SETTINGS, student_rows=student).decision == decision


def test_later_looks_ask_for_more_and_the_last_is_followed_by_none() -> None:
    challenger, champion = rows(lambda i: i % 25 > 0), rows(lambda i: i % 25 > 1 or i == 1)
    first, tenth, eleventh = (decide(challenger, champion, SETTINGS, look=look) for look in (1, 10, 11))
    assert first.alpha > tenth.alpha > eleventh.alpha == 0
    assert first.tested["eval/accuracy"].low > tenth.tested["eval/accuracy"].low
    assert first.differences == tenth.differences
    assert eleventh.decision == "inconclusive"
    assert "used by 10 challengers of this champion, 10 are allowed: take fresh test problems" in eleventh.reason


def test_one_look_asks_for_fresh_problems_each_time() -> None:
    fresh = GateSettings(resamples=1000, looks=1)
    better, champion = rows(lambda i: True), rows(lambda i: i % 5 > 1)
    assert decide(better, champion, fresh).decision == "promote"
    assert decide(better, champion, fresh, look=2).decision == "inconclusive"


def test_few_groups_of_problems_tell_nothing() -> None:
    few = [replace(row, group=str(int(row.problem_id) % 9)) for row in rows(lambda i: True)]
    assert decide(few, rows(lambda i: i % 5 > 1), SETTINGS).decision == "inconclusive"


def test_problems_that_differ_are_an_error() -> None:
    with pytest.raises(ValueError, match="same problems"):
        decide(rows(lambda i: True, n=5), rows(lambda i: True, n=6), SETTINGS)


def test_nothing_scored_is_inconclusive() -> None:
    nothing = rows(lambda i: None, n=5)
    assert decide(nothing, nothing, SETTINGS).decision == "inconclusive"


def test_the_verdict_survives_the_codec_and_names_both_models() -> None:
    result = decide(rows(lambda i: True), rows(lambda i: i % 2 > 0), SETTINGS, challenger="v2", champion="v1")
    assert from_json(GateResult, to_json(result)) == result
    assert (result.challenger, result.champion) == ("v2", "v1")
