"""Metrics exclude what is unscored, measure need instead of labelling it, and pair differences."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from components.evaluation.metrics import METRICS, differences, evaluate, evaluate_rows
from components.evaluation.oracle import best_decision, branches_of, call_needed, helpful_decision, oracle_rows, regret
from components.evaluation.rows import EvalRow, rows_of
from components.records.codec import from_json, to_json
from components.schema.cost import Cost
from components.schema.message import Message, ToolCall, ToolResult
from components.schema.problem import Budget, CheckerSpec, Problem, Reference
from components.schema.trajectory import Action, Outcome, StopReason, Trajectory, Transition

NO_WEIGHT = {"cost_weight": 0.1, "seed": 0, "resamples": 500}


def row(problem_id: str, success: bool | None, decision: str = "answer", **changes: object) -> EvalRow:
    called = decision != "answer"
    plain = EvalRow(
        policy="p",
        problem_id=problem_id,
        group=problem_id,
        slices=("fact",),
        success=success,
        calls=int(called),
        cost={"answer": 0.0, "search": 1.0, "python": 0.3}[decision],
        attempts=int(called),
        invalid=0,
        decision=decision,
        answer="x",
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def branch(direct: bool | None, search: bool | None, python: bool | None, problem_id: str = "a") -> dict[str, EvalRow]:
    forced = {"answer": direct, "search": search, "python": python}
    return {name: row(problem_id, success, name) for name, success in forced.items()}


def turn(decision: str, *, stop: StopReason | None = None, error: bool = False) -> Transition:
    call = ToolCall(decision, {"query": "chad"}) if decision != "answer" else None
    results = (ToolResult("text", error, Cost(calls=1)),) if call else ()
    action = Action(Message("assistant", "..."), decision, (), None, call, stop)
    return Transition(action, results, Cost(calls=len(results)))


def problem(problem_id: str) -> Problem:
    reference = Reference("It is 5.", "5")
    return Problem(
        problem_id,
        "What?",
        ("search",),
        reference,
        CheckerSpec("number"),
        Budget(),
        "fact",
        ("fact",),
        problem_id,
        "test",
    )


def trajectory(problem_id: str, *turns: Transition, success: bool | None = True) -> Trajectory:
    cost = sum((transition.cost for transition in turns), Cost())
    return Trajectory("t", problem_id, "w", 0, turns, Outcome(StopReason.ANSWERED, "5", success, cost))


def test_rows_count_calls_cost_and_invalid_attempts() -> None:
    played = [
        trajectory("a", turn("search"), turn("search", error=True), turn("answer")),
        trajectory("b", turn("answer", stop=StopReason.MALFORMED), success=False),
        trajectory("c", turn("answer", stop=StopReason.TRUNCATED), success=None),
    ]
    a, b, c = rows_of("p", [problem("a"), problem("b"), problem("c")], played, lambda cost: 2.0 * cost.calls)
    assert (a.calls, a.cost, a.attempts, a.invalid, a.decision) == (2, 4.0, 2, 1, "search")
    assert (b.attempts, b.invalid, b.success) == (1, 1, False)
    assert (c.attempts, c.invalid, c.success) == (0, 0, None)


def test_rows_survive_the_codec() -> None:
    original = row("a", None, "search", answer=None)
    assert from_json(EvalRow, to_json(original)) == original


def test_a_problem_played_twice_is_an_error() -> None:
    twice = [trajectory("a", turn("answer")), trajectory("a", turn("answer"))]
    with pytest.raises(ValueError, match="twice"):
        rows_of("p", [problem("a")], twice, lambda cost: 0.0)
    with pytest.raises(ValueError, match="unknown"):
        rows_of("p", [problem("b")], twice[:1], lambda cost: 0.0)


def test_unscored_is_excluded_and_never_counted_as_wrong() -> None:
    report = evaluate_rows("p", [row("a", True), row("b", None), row("c", False)], **NO_WEIGHT)
    assert report.metrics["eval/accuracy"].value == 0.5
    assert report.metrics["eval/accuracy"].n == 2


def test_cost_per_correct_is_a_ratio_of_sums_over_scored_problems() -> None:
    rows = [row("a", True, "search"), row("b", False, "search"), row("c", True), row("d", None, "search")]
    assert evaluate_rows("p", rows, **NO_WEIGHT).metrics["eval/cost_per_correct"].value == pytest.approx(1.0)


def test_figures_that_are_undefined_are_left_out() -> None:
    metrics = evaluate_rows("p", [row("a", False), row("b", False)], **NO_WEIGHT).metrics
    assert "eval/cost_per_correct" not in metrics
    assert "eval/invalid_rate" not in metrics
    assert "eval/decision_accuracy" not in metrics
    assert evaluate_rows("p", [], **NO_WEIGHT).metrics == {}


def test_need_is_measured_from_the_branches() -> None:
    assert call_needed(branch(True, True, False)) is False
    assert call_needed(branch(False, True, False)) is True
    assert call_needed(branch(False, False, False)) is None
    assert call_needed(branch(None, True, True)) is None
    assert call_needed({}) is None


def test_the_oracle_takes_the_cheapest_branch_that_succeeds() -> None:
    assert best_decision(branch(True, True, True), 0.1) == "answer"
    assert best_decision(branch(False, True, True), 0.1) == "python"
    assert best_decision(branch(False, True, False), 0.1) == "search"
    assert best_decision(branch(False, False, False), 0.1) == "answer"
    assert helpful_decision(branch(False, False, False), 0.1) == "none"
    assert helpful_decision(branch(False, True, None), 0.1) is None


def test_regret_is_zero_for_the_oracle_and_positive_for_a_needless_call() -> None:
    needless = branch(True, True, False)
    assert regret(needless, "answer", 0.1) == 0.0
    assert regret(needless, "search", 0.1) == pytest.approx(0.1)
    assert regret(needless, "python", 0.1) == pytest.approx(1.03)
    assert regret(branch(True, None, False), "answer", 0.1) is None
    assert regret(needless, "delegate", 0.1) is None


def test_no_policy_beats_the_oracle_in_utility() -> None:
    generator = np.random.default_rng(0)
    ids = [str(i) for i in range(60)]
    forced = {
        name: [row(i, bool(generator.random() < 0.5), name) for i in ids] for name in ("answer", "search", "python")
    }
    branches = branches_of(forced)
    best = evaluate_rows("oracle", oracle_rows(branches, ids, 0.1), branches, **NO_WEIGHT).metrics
    assert best["eval/decision_regret"].value == 0.0
    for rows in forced.values():
        assert (
            evaluate_rows("p", rows, branches, **NO_WEIGHT).metrics["eval/utility"].value <= best["eval/utility"].value
        )


def test_balanced_decision_accuracy_averages_recall_and_specificity() -> None:
    branches = {i: branch(False, True, False, i) for i in "abcd"} | {i: branch(True, True, True, i) for i in "ef"}
    rows = [row(i, True, "search") for i in "abc"] + [row("d", False)] + [row("e", True), row("f", True, "search")]
    metrics = evaluate_rows("p", rows, branches, **NO_WEIGHT).metrics
    assert metrics["eval/decision_accuracy"].value == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert metrics["eval/decision_accuracy"].n == 6
    assert metrics["eval/decision_regret"].value == pytest.approx((0.9 + 0.1) / 6)


def test_always_calling_earns_half_in_balanced_decision_accuracy() -> None:
    branches = {i: branch(False, True, False, i) for i in "abcdefg"} | {"h": branch(True, True, True, "h")}
    rows = [row(i, True, "search") for i in "abcdefgh"]
    assert evaluate_rows("p", rows, branches, **NO_WEIGHT).metrics["eval/decision_accuracy"].value == pytest.approx(0.5)


def test_slices_hold_only_their_problems() -> None:
    rows = [
        row("a", True, slices=("fact", "known")),
        row("b", False, slices=("fact",)),
        row("c", False, slices=("chat",)),
    ]
    report = evaluate_rows("p", rows, **NO_WEIGHT)
    assert {name: metrics["eval/accuracy"].value for name, metrics in report.by_slice.items()} == {
        "chat": 0.0,
        "fact": 0.5,
        "known": 1.0,
    }
    assert report.by_slice["fact"]["eval/accuracy"].n == 2


def test_a_policy_does_not_differ_from_itself_in_any_metric() -> None:
    rows = [row(str(i), i % 3 > 0, "search" if i % 2 else "answer") for i in range(30)]
    for value in differences(rows, rows, **NO_WEIGHT).values():
        assert (value.value, value.low, value.high) == (0.0, 0.0, 0.0)


def test_differences_pair_problems_and_drop_those_unscored_on_either_side() -> None:
    ours = [row("a", True), row("b", None), row("c", True), row("x", True)]
    theirs = [row("c", False), row("b", True), row("a", True), row("y", False)]
    found = differences(ours, theirs, **NO_WEIGHT)
    assert found["eval/accuracy"].value == pytest.approx(0.5)
    assert found["eval/accuracy"].n == 2
    assert found["slice/fact/accuracy"].n == 2


def test_evaluate_takes_trajectories_and_a_price() -> None:
    played = [trajectory("a", turn("search"), turn("answer")), trajectory("b", turn("answer"), success=False)]
    report = evaluate("p", [problem("a"), problem("b")], played, lambda cost: 1.0 * cost.calls, **NO_WEIGHT)
    assert report.metrics["eval/calls"].value == 0.5
    assert set(report.metrics) <= {metric.name for metric in METRICS}


def test_nine_policies_on_320_problems_take_seconds() -> None:
    generator = np.random.default_rng(0)
    names = [f"slice{i}" for i in range(15)]
    ids = [str(i) for i in range(320)]
    rows = [row(i, bool(generator.random() < 0.7), str(generator.choice(["answer", "search", "python"]))) for i in ids]
    rows = [replace(r, slices=tuple(generator.choice(names, size=2, replace=False))) for r in rows]
    branches = {i: branch(bool(generator.random() < 0.3), True, False, i) for i in ids}
    started = time.perf_counter()
    for _ in range(9):
        evaluate_rows("p", rows, branches, cost_weight=0.1, seed=0, resamples=2000)
    assert time.perf_counter() - started < 8
