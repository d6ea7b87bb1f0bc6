"""The gate promotes what is superior, or cheaper and not inferior, and lets no guard be bought off."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
