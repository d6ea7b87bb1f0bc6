"""Cases say what the stored records say, and show train problems only."""

from __future__ import annotations

from dataclasses import replace

from doubles import call_action, make_problem, text_action
from toy_search import in_advance, make_verbs, turns_of
from toy_search import make_problem as searchable

from components.annotation.case import Complaint
from components.annotation.complaints import complaints
from components.annotation.evidence import all_cases, cases_from_rollouts, cases_from_trees
from components.records.feedback import Feedback
from components.schema.cost import Cost
from components.schema.message import ToolResult
from components.schema.trajectory import Outcome, State, StopReason, Trajectory, Transition
from components.search.mcts import search
from components.search.rows import Provenance, tree_rows
from components.tools.spec import KNOWN_SPECS

SAID = Complaint("f1", "r1", "down", None, "Who?", "Nobody.")


def world(state: State) -> list[tuple[str, float]]:
    """A call that leads to the right answer, and a wrong answer that the policy likes better."""
    return [("right", 1.0)] if turns_of(state) else [("call:area", 0.3), ("wrong", 0.7)]


def test_a_tree_tells_prior_q_cost_result_and_how_it_went_on() -> None:
    problem, chosen = searchable("one"), in_advance(simulations=20, max_depth=4)
    verbs, _ = make_verbs(world)
    (tree,) = search([problem], verbs, chosen)
    rows = tree_rows(tree, greedy_success=False, provenance=Provenance("m", "d"), units=verbs.units, settings=chosen)
    (case,) = cases_from_trees(rows, {problem.problem_id: problem}, KNOWN_SPECS)
    proposed, other = case.alternatives
    assert (proposed.turn.decision, proposed.correct) == ("answer", False)
    assert other.turn.result == "found area"
    row = next(row for row in rows if row.depth == 1 and row.decision == "search")
    assert (other.prior, other.q, other.visits, other.turn.cost) == (0.3, row.q, row.visits, row.cost_units)
    assert (other.then[-1].text, other.correct) == ("right", True)
    assert not list(cases_from_trees(rows, {}, KNOWN_SPECS))  # a problem that is not among the train problems


def _play(problem_id: str, decision: str, reward: float, *, known: bool) -> Trajectory:
    action = text_action("Yes.") if decision == "answer" else call_action("search", query="Chad")
    action = replace(action, decision_probs={"answer": 0.9, "search": 0.1} if known else None)
    result = ToolResult("a page", is_error=False, cost=Cost(calls=1))
    steps = [Transition(action, (result,) if decision == "search" else (), Cost(calls=2), reward / 2)]
    steps.append(Transition(text_action("Yes."), (), Cost(), reward / 2))
    outcome = Outcome(StopReason.ANSWERED, "Yes.", reward > 0, Cost())
    return Trajectory("t", problem_id, "p", 0, tuple(steps), outcome, (decision,))


def test_judged_rollouts_tell_the_whole_reward_as_q() -> None:
    problem = make_problem()
    plays = [_play(problem.problem_id, name, q, known=True) for name, q in (("answer", -0.2), ("search", 0.6))]
    (case,) = cases_from_rollouts(plays, {problem.problem_id: problem}, KNOWN_SPECS, lambda cost: float(cost.calls))
    proposed, other = case.alternatives
    assert (proposed.turn.decision, proposed.q, proposed.prior) == ("answer", -0.2, 0.9)
    assert (other.turn.result, other.q, other.turn.cost) == ("a page", 0.6, 2.0)
    assert case.policy_is_known


def test_what_went_best_comes_first_where_the_policy_was_not_recorded() -> None:
    problem = make_problem()
    plays = [_play(problem.problem_id, name, q, known=False) for name, q in (("answer", -0.2), ("search", 0.6))]
    (case,) = cases_from_rollouts(plays, {problem.problem_id: problem}, KNOWN_SPECS, lambda cost: 0.0)
    assert case.alternatives[0].turn.decision == "search"
    assert not case.policy_is_known


def test_feedback_joins_the_case_of_its_question_or_makes_one() -> None:
    problem = make_problem()
    plays = [_play(problem.problem_id, "search", 0.6, known=True)]
    known = replace(SAID, feedback_id="f2", question=problem.prompt)
    cases = all_cases(
        {problem.problem_id: problem},
        KNOWN_SPECS,
        rows=(),
        trajectories=plays,
        feedback=[known, SAID],
        units=lambda cost: 0.0,
    )
    assert [(case.prompt, case.source, len(case.feedback)) for case in cases] == [
        (problem.prompt, "rollouts", 1),
        ("Who?", "feedback", 1),
    ]


def test_only_feedback_that_somebody_can_judge_and_that_says_something_calls_for_a_person() -> None:
    good = Feedback.model_validate(
        {"feedback_id": "f1", "response_id": "r", "thumbs": "down", "question": "Who?", "created_at": "2026-11-23"}
    )
    changes = (
        {},
        {"thumbs": "up"},
        {"thumbs": "up", "correction": "It is y."},
        {"question": None},
        {"question": " "},
    )
    called = complaints(good.model_copy(update=change) for change in changes)
    assert [(one.thumbs, one.correction, one.answer) for one in called] == [("down", None, ""), ("up", "It is y.", "")]
