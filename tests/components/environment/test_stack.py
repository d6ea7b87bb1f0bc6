"""The task stack: splitting pushes, answering and giving up pop, limits are replies, the root answers last."""

import pytest
from doubles import FakeToolbox, ScriptedPolicy, call_action, make_problem, play, text_action

from components.environment.stack import task_at
from components.environment.step import finish, start, step
from components.schema.cost import Cost
from components.schema.message import ToolCall
from components.schema.problem import Nesting
from components.schema.trajectory import Action, Plan, State, StopReason, Trajectory, Transition
from components.tools.grammar import render_call
from components.tools.prices import PriceSheet

NESTING = Nesting()
ALL = ("search", "python", "delegate", "split", "give_up")
PRICES = PriceSheet()


def follow(*actions: Action, nesting: Nesting = NESTING, max_calls: int = 9) -> tuple[State, list[Transition]]:
    """The state after the actions, and what each did."""
    state, transitions = start(make_problem(tool_names=ALL, max_calls=max_calls, nesting=nesting)), []
    for action in actions:
        state, transition = step(state, action, FakeToolbox())
        transitions.append(transition)
    return state, transitions


def split(*tasks: str) -> Action:
    return call_action("split", tasks=list(tasks))


def give_up(reason: str = "no page") -> Action:
    return call_action("give_up", reason=reason)


def replies(transitions: list[Transition]) -> list[str]:
    return [result.content for transition in transitions for result in transition.results]


def test_subtasks_are_worked_on_in_their_order_and_the_root_answers_last() -> None:
    state, transitions = follow(
        split("capital of Chad", "its river"), text_action("N'Djamena"), text_action("the Chari")
    )
    assert replies(transitions) == [
        "Sub-task 1 of 2: capital of Chad",
        "Sub-task 2 of 2: its river",
        "capital of Chad: N'Djamena\nits river: the Chari\nNow: What is the capital of Chad?",
    ]
    assert (state.stack, state.done) == ((), False)
    state, last = step(state, text_action("N'Djamena, on the Chari"), FakeToolbox())
    assert (state.done, last.results) == (True, ())


def test_tools_may_be_called_for_a_subtask() -> None:
    state, transitions = follow(split("a", "b"), call_action("search", query="a"), text_action("found"))
    assert state.stack == (Plan(("a", "b"), ("found",)),)
    assert task_at(state) == "b"
    assert replies(transitions)[1] == "No results."


def test_a_subtask_may_be_split_again_from_what_was_learnt() -> None:
    state, transitions = follow(split("a", "b"), split("a1", "a2"), text_action("1"), text_action("2"))
    assert replies(transitions)[-1] == "a1: 1\na2: 2\nNow: a"
    assert task_at(state) == "a"
    assert task_at(state, up=1) == "What is the capital of Chad?"
    state, transition = step(state, text_action("3"), FakeToolbox())
    assert transition.results[0].content == "Sub-task 2 of 2: b"


def test_giving_a_subtask_up_drops_the_rest_of_its_plan_and_tells_whoever_split() -> None:
    state, transitions = follow(split("a", "b", "c"), text_action("1"), give_up())
    assert replies(transitions)[-1] == "a: 1\nGiven up: b (no page)\nNow: What is the capital of Chad?"
    assert (state.stack, state.done) == ((), False)
    state, transition = step(state, split("d"), FakeToolbox())
    assert transition.results[0].content == "Sub-task 1 of 1: d", "backtracking: another plan"


def test_giving_up_inside_goes_back_one_level_only() -> None:
    state, transitions = follow(split("a", "b"), split("a1", "a2"), give_up())
    assert replies(transitions)[-1] == "Given up: a1 (no page)\nNow: a"
    assert state.stack == (Plan(("a", "b")),)


def test_giving_the_problem_up_ends_it_and_costs_nothing() -> None:
    trajectory = play(
        make_problem(tool_names=ALL), ScriptedPolicy([render_call(ToolCall("give_up", {"reason": "?"}))]), FakeToolbox()
    )
    outcome = trajectory.outcome
    assert (outcome.stop_reason, outcome.answer, outcome.cost.calls) == (StopReason.GAVE_UP, None, 0)


@pytest.mark.parametrize(
    ("before", "tasks", "nesting", "fault"),
    [
        ((), ["a", "b", "c"], Nesting(width=2), "3 sub-tasks, the limit is 2"),
        ((split("a"),), ["b"], Nesting(stack=1), "the limit of 1 splits inside one another is reached"),
        ((split("a"),), ["b"], Nesting(dynamic=False), "only before any other call"),
        ((call_action("search", query="a"),), ["b"], Nesting(dynamic=False), "only before any other call"),
        ((), ["a", "  "], Nesting(), "a sub-task is empty"),
    ],
)
def test_a_limit_is_a_reply_that_names_it_and_changes_no_stack(
    before: tuple[Action, ...], tasks: list[str], nesting: Nesting, fault: str
) -> None:
    was, _ = follow(*before, nesting=nesting)
    state, transitions = follow(*before, split(*tasks), nesting=nesting)
    (result,) = transitions[-1].results
    assert (result.content, result.is_error) == (f"Error: split: {fault}.", True)
    assert result.cost == PRICES.charge("split")
    assert (state.stack, state.done) == (was.stack, False)


def test_static_splitting_allows_the_split_up_front() -> None:
    state, _ = follow(split("a", "b"), nesting=Nesting(dynamic=False))
    assert state.stack == (Plan(("a", "b")),)


@pytest.mark.parametrize("arguments", [{}, {"tasks": "a"}, {"tasks": []}, {"tasks": [1]}, {"tasks": ["a"], "b": 1}])
def test_wrong_arguments_are_an_error_reply(arguments: dict[str, object]) -> None:
    good = call_action("split", tasks=["a"])
    bad = Action(good.message, "split", good.written, None, call=ToolCall("split", arguments))
    state, transitions = follow(bad)
    assert transitions[0].results[0].is_error
    assert state.stack == ()


def test_splitting_costs_its_price_and_answering_a_subtask_nothing() -> None:
    state, (first, second) = follow(split("a"), text_action("1"))
    tokens = Cost(completion_tokens=len(first.action.message.token_ids or ()))
    assert first.cost == PRICES.charge("split") + tokens
    assert second.cost == Cost(completion_tokens=1)
    assert state.calls_left == 8


def test_a_subtasks_answer_that_was_cut_off_counts_as_far_as_it_goes() -> None:
    state, transitions = follow(split("a"), text_action("and so", stop=StopReason.TRUNCATED))
    assert (state.done, replies(transitions)[-1].splitlines()[0]) == (False, "a: and so")


@pytest.mark.parametrize(
    ("turn", "stop"),
    [
        (text_action(" "), StopReason.NO_ANSWER),
        (text_action("<tool_call>"), StopReason.MALFORMED),
        (text_action("", stop=StopReason.TRUNCATED), StopReason.TRUNCATED),
        (text_action("no", stop=StopReason.REFUSED), StopReason.REFUSED),
    ],
)
def test_any_other_unusable_turn_ends_the_trajectory_whatever_is_open(turn: Action, stop: StopReason) -> None:
    state, transitions = follow(split("a", "b"), turn)
    trajectory = finish(state, transitions, policy_id="p", seed=0, success=None)
    assert (state.done, trajectory.outcome.stop_reason) == (True, stop)
    assert not trajectory.outcome.answer


def test_a_call_beyond_the_budget_ends_the_trajectory_even_if_it_gives_up() -> None:
    texts = [render_call(ToolCall("split", {"tasks": ["a"]})), render_call(ToolCall("give_up", {"reason": "?"}))]
    trajectory = play(make_problem(tool_names=ALL, max_calls=1), ScriptedPolicy(texts), FakeToolbox())
    assert trajectory.outcome.stop_reason is StopReason.OUT_OF_BUDGET


def test_the_answer_to_a_subtask_is_not_the_answer() -> None:
    state, transitions = follow(split("a", "b"), text_action("1"))
    stopped: Trajectory = finish(state, transitions, policy_id="p", seed=0, success=None)
    assert (stopped.outcome.stop_reason, stopped.outcome.answer) == (StopReason.OUT_OF_BUDGET, None)
