"""Records survive a file, and a bad line is named."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.records.codec import BadField, from_json, to_json
from components.records.jsonl import BadRecord, read_records, write_records
from components.schema.cost import Cost
from components.schema.message import Message, ToolCall, ToolResult
from components.schema.problem import Budget, CheckerSpec, Nesting, Problem, Reference
from components.schema.report import EvalReport, Interval
from components.schema.trajectory import Action, Outcome, StopReason, Trajectory, Transition

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
number = st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers(0, 2**53)
json_values = st.recursive(st.none() | st.booleans() | whole | number | text, lambda inner: st.lists(inner, max_size=3))
mappings = st.dictionaries(text, json_values, max_size=3)
costs = st.builds(Cost, whole, number, number, whole, whole)
calls = st.builds(ToolCall, text, mappings)
results = st.builds(ToolResult, text, st.booleans(), costs, st.lists(text, max_size=2).map(tuple), st.none() | number)
messages = st.builds(
    Message, st.sampled_from(["user", "assistant", "tool"]), text, st.none() | st.lists(whole, max_size=4).map(tuple)
)
actions = st.builds(
    Action,
    messages,
    text,
    st.lists(st.booleans(), max_size=4).map(tuple),
    st.none() | st.lists(number, max_size=4).map(tuple),
    st.none() | calls,
    st.none() | st.sampled_from(StopReason),
    st.none() | st.dictionaries(text, number, max_size=2),
)
outcomes = st.builds(
    Outcome,
    st.sampled_from(StopReason),
    st.none() | text,
    st.none() | st.booleans(),
    costs,
    st.none() | st.dictionaries(text, number, max_size=2),
)


def _trajectories(nested: st.SearchStrategy[tuple[Trajectory, ...]]) -> st.SearchStrategy[Trajectory]:
    replies = st.lists(results, max_size=2).map(tuple)
    transitions = st.builds(Transition, actions, replies, costs, st.none() | number, nested)
    turns, forced = st.lists(transitions, max_size=3).map(tuple), st.lists(text, max_size=2).map(tuple)
    return st.builds(Trajectory, text, text, text, whole, turns, outcomes, forced)


trajectories = st.recursive(
    _trajectories(st.just(())), lambda inner: _trajectories(st.lists(inner, max_size=1).map(tuple)), max_leaves=3
)
PROBLEM = Problem(
    "id",
    "Prompt?",
    ("search",),
    Reference("It is a.", "a", ("A",)),
    CheckerSpec("number", {"value": 3}),
    Budget(),
    "fact",
    ("fact",),
    "chad",
    "train",
    {"phrasing": 2},
)


@settings(max_examples=40, deadline=None)
@given(trajectories)
def test_any_trajectory_survives_json(trajectory: Trajectory) -> None:
    assert from_json(Trajectory, json.loads(json.dumps(to_json(trajectory), allow_nan=False))) == trajectory


def test_a_sparse_field_is_written_only_where_it_says_something() -> None:
    plain = Transition(Action(Message("assistant", "a"), "answer", (), None), (), Cost())
    assert list(to_json(plain)) == ["action", "results", "cost", "reward"], "files of older data stay as they were"
    inner = Trajectory("t", "p", "human", 0, (plain,), Outcome(StopReason.ANSWERED, "a", None, Cost()))
    assert to_json(Transition(plain.action, (), Cost(), nested=(inner,)))["nested"] == [to_json(inner)]
    assert "nesting" not in to_json(Budget())
    assert to_json(Budget(nesting=Nesting(depth=1)))["nesting"]["depth"] == 1


def test_a_fault_inside_a_nested_trajectory_is_named() -> None:
    plain = Transition(Action(Message("assistant", "a"), "answer", (), None), (), Cost())
    inner = Trajectory("t", "p", "human", 0, (plain,), Outcome(StopReason.ANSWERED, "a", None, Cost()))
    row = to_json(Trajectory("t", "p", "x", 0, (Transition(plain.action, (), Cost(), nested=(inner,)),), inner.outcome))
    row["transitions"][0]["nested"][0]["seed"] = "none"
    with pytest.raises(BadField) as caught:
        from_json(Trajectory, row)
    assert caught.value.field == "transitions[0].nested[0].seed"


def test_nested_mappings_of_records_survive_json() -> None:
    report = EvalReport("clone", {"eval/accuracy": Interval(0.5, 0.4, 0.6, 10)}, {"fact": {"n": Interval(1, 1, 1, 3)}})
    assert from_json(EvalReport, json.loads(json.dumps(to_json(report)))) == report


@settings(max_examples=100, deadline=None)
@given(json_values | mappings)
def test_any_json_value_is_a_record_or_a_bad_field(value: Any) -> None:
    with pytest.raises(BadField):
        from_json(Problem, value)


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"colour": 1}, "colour", "is not a field of Problem"),
        ({"prompt": 3}, "prompt", "must be text, is a whole number"),
        ({"split": "dev"}, "split", "must be one of train, validation, test"),
        ({"budget": {"max_calls": 2.5}}, "budget.max_calls", "must be a whole number, is a number"),
        ({"budget": {"max_calls": True}}, "budget.max_calls", "must be a whole number, is true or false"),
        ({"slices": ["a", None]}, "slices[1]", "must be text, is null"),
        ({"reference": {"text": "t"}}, "reference.answer", "is missing"),
        ({"facts": []}, "facts", "must be an object, is a list"),
    ],
)
def test_a_bad_field_is_named_with_file_and_line(
    tmp_path: Path, change: dict[str, Any], field: str, reason: str
) -> None:
    path = tmp_path / "problems.jsonl"
    good = to_json(PROBLEM)
    path.write_text("\n".join(json.dumps(row) for row in (good, {**good, **change})))
    with pytest.raises(BadRecord) as caught:
        read_records(path, Problem)
    assert (caught.value.line, caught.value.field) == (2, field)
    assert reason in caught.value.reason
    assert str(caught.value).startswith(f"{path}:2 {field}: ")


@pytest.mark.parametrize("bad", [b"{", b"\xff", b"[1]", b"nonsense"])
def test_a_line_that_is_no_object_is_named(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\n" + bad + b"\n")
    with pytest.raises(BadRecord, match=r"x\.jsonl:2: "):
        read_records(path, Cost)


def test_nan_is_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    write_records(tmp_path / "c.jsonl", [Cost()])
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_records(tmp_path / "c.jsonl", [Cost(), Cost(seconds=float("nan"))])
    assert read_records(tmp_path / "c.jsonl", Cost) == (Cost(),)
