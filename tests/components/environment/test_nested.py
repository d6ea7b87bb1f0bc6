"""Nested calls: cost rolls up, the budget is a share of the parent's, and a replay needs nobody to play them."""

import json
from dataclasses import replace

import pytest
from doubles import FakeClock, FakeTool, FakeToolbox, RandomPolicy, ScriptedPolicy, call_action, make_problem, play
from doubles import text_action as words
from hypothesis import given, settings
from hypothesis import strategies as st

from components.environment.nested import nested_problem, nested_result
from components.environment.replay import replay, walk
from components.environment.step import start, step
from components.records.codec import from_json, to_json
from components.schema.cost import Cost
from components.schema.message import ToolCall
from components.schema.nested import every_transition, nested_in
from components.schema.problem import Nesting, Problem
from components.schema.trajectory import StopReason, Trajectory
from components.tools.composite import COMPOSITE_SPECS
from components.tools.grammar import render_call
from components.tools.prices import PriceSheet
from components.tools.spec import SEARCH_SPEC
from components.tools.toolbox import Toolbox

ALL = ("search", "python", "delegate", "split", "give_up")
PRICES = PriceSheet()
OWN = PRICES.charge("delegate")


def called(name: str, **arguments: object) -> str:
    return render_call(ToolCall(name, arguments))


ASK = called("delegate", question="Which river?")
SEARCH = called("search", query="river Chad")
TURNS = (
    ASK,
    called("delegate", question="Why?"),
    called("delegate", question=" "),
    SEARCH,
    called("python", code="1+1"),
    called("split", tasks=["a", "b"]),
    called("split", tasks=["c", "d", "e", "f"]),
    called("give_up", reason="no page"),
    called("delegate", query="wrong argument"),
    "N'Djamena",
    "the Chari",
    "",
    "<tool_call>",
)


def only(trajectory: Trajectory) -> Trajectory:
    """The one trajectory nested in it."""
    ((_, nested),) = nested_in(trajectory)
    return nested


def scripted(*texts: str) -> Trajectory:
    """A script, which a nested call plays from its start as well."""
    problem = make_problem(tool_names=ALL, max_calls=5, nesting=Nesting(depth=1))
    return play(problem, ScriptedPolicy(texts), FakeToolbox(default="found"))


def test_the_answer_of_a_nested_call_is_its_result_and_its_cost_is_the_callers() -> None:
    trajectory = scripted(ASK, "the Chari")
    inner = only(trajectory)
    (refused, said) = inner.transitions
    assert refused.results[0].content == "Error: delegate: the depth limit of nested calls is reached."
    (result,) = trajectory.transitions[0].results
    assert (result.content, result.is_error) == ("the Chari", False)
    assert result.cost == OWN + inner.outcome.cost
    assert inner.outcome.cost == refused.cost + said.cost
    assert inner.outcome.success is None, "nobody knows the answer to a nested question"


def test_a_nested_call_takes_its_share_of_what_is_left() -> None:
    state = start(make_problem(tool_names=ALL, max_calls=4, nesting=Nesting(depth=3, calls=9)))
    state, _ = step(state, call_action("search", query="a"), FakeToolbox())
    problem = nested_problem(state, ToolCall("delegate", {"question": "Why?"}), OWN)
    assert isinstance(problem, Problem)
    assert (problem.prompt, problem.budget.max_calls, problem.budget.nesting.depth) == ("Why?", 2, 2)
    assert problem.tool_names == ALL
    small = replace(state, problem=make_problem(tool_names=ALL, max_calls=4, nesting=Nesting(calls=1)))
    shared = nested_problem(small, ToolCall("delegate", {"question": "Why?"}), OWN)
    assert isinstance(shared, Problem)
    assert shared.budget.max_calls == 1


@pytest.mark.parametrize(
    ("max_calls", "nesting", "question", "fault"),
    [
        (5, Nesting(depth=0), "Why?", "the depth limit of nested calls is reached"),
        (1, Nesting(), "Why?", "no call is left for it, the limit is 1"),
        (5, Nesting(), " ", "the question is empty"),
        (5, Nesting(), 3, "question must be text, is number"),
    ],
)
def test_a_limit_is_an_error_that_names_it(max_calls: int, nesting: Nesting, question: object, fault: str) -> None:
    state = start(make_problem(tool_names=ALL, max_calls=max_calls, nesting=nesting))
    refused = nested_problem(state, ToolCall("delegate", {"question": question}), OWN)
    assert not isinstance(refused, Problem)
    assert (refused.content, refused.is_error, refused.cost) == (f"Error: delegate: {fault}.", True, OWN)


@pytest.mark.parametrize(
    ("turn", "stop", "told"),
    [
        (words("and so", stop=StopReason.TRUNCATED), StopReason.TRUNCATED, "no answer, truncated"),
        (words("", stop=StopReason.REFUSED), StopReason.REFUSED, "no answer, refused"),
        (words("", stop=StopReason.CANCELLED), StopReason.CANCELLED, "no answer, cancelled"),
        (words("<tool_call>"), StopReason.MALFORMED, "no answer, malformed"),
        (words(" "), StopReason.NO_ANSWER, "no answer, no answer"),
        (call_action("give_up", reason="no page"), StopReason.GAVE_UP, "gave up, no page"),
    ],
)
def test_a_nested_call_without_an_answer_is_an_error_that_the_caller_reads(
    turn: object, stop: StopReason, told: str
) -> None:
    class Once(ScriptedPolicy):
        def act(self, state):  # type: ignore[no-untyped-def]
            return turn if state.problem.prompt == "Which river?" else super().act(state)

    trajectory = play(make_problem(tool_names=ALL), Once([ASK, "N'Djamena"]), FakeToolbox())
    (result,) = trajectory.transitions[0].results
    assert only(trajectory).outcome.stop_reason is stop
    assert (result.content, result.is_error) == (f"Error: delegate: {told}.", True)
    assert result.cost == OWN + only(trajectory).outcome.cost
    assert trajectory.outcome.stop_reason is StopReason.ANSWERED, "the caller goes on"


def test_without_anybody_to_play_it_a_nested_call_is_a_charged_error() -> None:
    state = start(make_problem(tool_names=ALL))
    state, transition = step(state, call_action("delegate", question="Why?"), FakeToolbox())
    assert transition.results[0].is_error
    assert transition.results[0].cost == OWN
    assert not state.done


def test_a_cache_hit_inside_a_nested_call_is_charged_like_the_live_call() -> None:
    tool = FakeTool(lambda arguments: "found", spec=SEARCH_SPEC)
    box = Toolbox([tool], PRICES, FakeClock(), composite=COMPOSITE_SPECS)
    try:
        problem = make_problem(tool_names=ALL, max_calls=6, nesting=Nesting(depth=1))
        trajectory = play(problem, ScriptedPolicy([SEARCH, ASK, "the Chari"]), box)
    finally:
        box.close()
    assert len(tool.seen) == 1, "the nested search comes from the cache"
    searched, nested = trajectory.transitions[0], only(trajectory)
    assert nested.transitions[0].results[0].cost == searched.results[0].cost == PRICES.charge("search")
    assert trajectory.outcome.cost.calls == 4, "search, delegate, and inside it search and a refused delegate"


def _roll_up(trajectory: Trajectory) -> Cost:
    """The cost of a trajectory counted from its turns' own tokens and calls: the slow, obvious way."""
    whole = Cost()
    for transition in trajectory.transitions:
        whole += Cost(completion_tokens=len(transition.action.message.token_ids or ()))
        if transition.action.call is not None and transition.results:
            whole += PRICES.charge(transition.action.call.name)
        for inner in transition.nested:
            whole += _roll_up(inner)
    return whole


def _same(one: Cost, other: Cost) -> bool:
    whole = (one.calls, one.prompt_tokens, one.completion_tokens)
    return whole == (other.calls, other.prompt_tokens, other.completion_tokens) and (
        one.money == pytest.approx(other.money) and one.seconds == pytest.approx(other.seconds)
    )


nestings = st.builds(Nesting, st.integers(0, 3), st.integers(1, 6), st.integers(0, 3), st.integers(1, 4), st.booleans())


@settings(max_examples=250, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 14), nestings, st.sets(st.sampled_from(TURNS), min_size=2))
def test_whatever_a_policy_does_costs_add_up_budgets_hold_and_the_record_replays(
    seed: int, max_calls: int, nesting: Nesting, texts: set[str]
) -> None:
    problem = make_problem(tool_names=ALL, max_calls=max_calls, nesting=nesting)
    trajectory = play(problem, RandomPolicy(sorted(texts), seed=seed), FakeToolbox(default="found"))
    stored = from_json(Trajectory, json.loads(json.dumps(to_json(trajectory))))
    assert stored == trajectory
    assert replay(stored, problem) == stored
    _check(trajectory, problem, depth=0)


def _check(trajectory: Trajectory, problem: Problem, *, depth: int) -> None:
    assert _same(trajectory.outcome.cost, _roll_up(trajectory))
    assert trajectory.outcome.cost.calls <= problem.budget.max_calls
    answers = trajectory.outcome.stop_reason is StopReason.ANSWERED
    steps = list(walk(trajectory, problem))
    assert steps[-1].state.done
    assert not (answers and steps[-1].state.stack), "the answer is that of the problem, not of a sub-task"
    limits = problem.budget.nesting
    for step_ in steps:
        assert len(step_.state.stack) <= limits.stack
        assert all(len(plan.results) < len(plan.tasks) <= limits.width for plan in step_.state.stack)
        for inner, inner_problem in zip(step_.transition.nested, step_.nested, strict=True):
            assert inner_problem.budget.nesting.depth == limits.depth - 1
            assert step_.transition.results == (nested_result(inner, OWN),)
            _check(inner, inner_problem, depth=depth + 1)


def test_random_policies_reach_every_kind_of_end_and_depth() -> None:
    problems = [make_problem(tool_names=ALL, max_calls=12, nesting=Nesting(depth=d, calls=9)) for d in (1, 3)]
    played = [play(one, RandomPolicy(TURNS, seed=seed), FakeToolbox()) for one in problems for seed in range(200)]
    inner = [t for one in played for t in every_transition(one) if t.nested]
    assert {one.outcome.stop_reason for one in played} == set(StopReason)
    assert any(t.nested[0].transitions[0].nested for t in inner), "nested calls in nested calls"
    faults = {result.content for one in played for t in every_transition(one) for result in t.results}
    for limit in ("no call is left", "depth limit", "splits inside one another", "Given up"):
        assert any(limit in fault for fault in faults), limit
    assert len({one.trajectory_id for one in played}) > 50
