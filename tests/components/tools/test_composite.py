"""The composite's calls to itself are tools like others: shown, priced, offered when the settings say so."""

import pytest
from doubles import FakeClock, FakeTool, make_problem
from tiny_models import chat, grammars

from components.policy.constrained import written_mask
from components.schema.message import ToolCall
from components.schema.problem import Nesting
from components.tools.composite import COMPOSITE_SPECS, SPLIT_SPEC, composite_specs, offered
from components.tools.grammar import (
    ARGUMENTS_OPENING,
    CALL_CLOSING,
    parse_turn,
    render_arguments,
    render_call,
    user_turn,
)
from components.tools.prices import PriceSheet
from components.tools.settings import CompositeSettings, ToolSettings
from components.tools.spec import text_tool
from components.tools.toolbox import Toolbox


def test_they_are_off_by_default_and_then_change_neither_problems_nor_digests() -> None:
    problem = make_problem()
    assert offered(problem, CompositeSettings()) is problem
    assert "composite" not in ToolSettings().model_dump(mode="json")
    some = ToolSettings(composite=CompositeSettings(tools=("split",)))
    assert some.model_dump(mode="json")["composite"]["tools"] == ["split"]


def test_a_problem_offers_what_the_settings_list_under_their_limits() -> None:
    settings = CompositeSettings(
        tools=("split", "delegate"), max_calls=9, nested_calls=4, depth=1, stack=3, width=5, splitting="static"
    )
    problem = offered(make_problem(), settings)
    assert problem.tool_names == ("search", "python", "split", "delegate")
    assert problem.budget.nesting == Nesting(depth=1, calls=4, stack=3, width=5, dynamic=False)
    assert (problem.budget.max_calls, problem.budget.max_argument_tokens) == (9, 64)
    assert problem.problem_id == make_problem().problem_id, "it is the same problem"
    assert offered(problem, settings) == problem


def test_they_are_shown_and_read_like_every_tool() -> None:
    assert user_turn("Why?", COMPOSITE_SPECS) == "Tools: delegate(question), split(tasks), give_up(reason).\nWhy?"
    call = ToolCall("split", {"tasks": ["a", 'b "c"']})
    assert parse_turn(render_call(call), COMPOSITE_SPECS).call == call
    assert parse_turn(render_call(ToolCall("split", {"tasks": []})), COMPOSITE_SPECS).error is not None


def test_a_model_can_write_a_split_under_the_grammar() -> None:
    arguments = {"tasks": ["capital of Chad", "its river"]}
    tokens = chat().encode(f"{ARGUMENTS_OPENING}{render_arguments(arguments)}{CALL_CLOSING}")
    written = written_mask(grammars().matcher(SPLIT_SPEC), tokens)
    chosen = chat().decode([token for token, free in zip(tokens, written, strict=True) if free])
    assert "capital of Chad" in chosen
    assert "its river" in chosen
    assert "</tool_call>" not in chosen


def test_a_toolbox_shows_them_beside_its_tools_and_charges_them() -> None:
    box = Toolbox([FakeTool(lambda arguments: "a")], PriceSheet(), FakeClock(), composite=composite_specs(["split"]))
    assert [spec.name for spec in box.specs()] == ["search", "split"]
    assert box.charge("split") == PriceSheet().charge("split")
    with pytest.raises(KeyError, match="delegate"):
        box.specs(["delegate"])
    box.close()


def test_no_tool_may_take_their_names() -> None:
    tool = FakeTool(lambda arguments: "a", spec=text_tool("delegate", "to", "Somebody else's."))
    with pytest.raises(ValueError, match="taken by a call of the composite to itself: delegate"):
        Toolbox([tool], PriceSheet(), FakeClock())
