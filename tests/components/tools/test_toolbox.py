"""One door to all tools: order, limits, prices and memory."""

import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest
from doubles import PASSAGES, FakeClock, FakeTool, cut_words

from components.schema.message import ToolCall
from components.tools.open_toolbox import open_toolbox
from components.tools.prices import PriceSheet
from components.tools.settings import ToolSettings
from components.tools.spec import PYTHON_SPEC, ToolOutput
from components.tools.toolbox import Toolbox

PRICES = PriceSheet()


def search(query: object) -> ToolCall:
    return ToolCall("search", {"query": query})


def toolbox(tool: FakeTool, *, workers: int = 2, seconds: float = 5.0, cache_size: int = 100) -> Toolbox:
    return Toolbox([tool], PRICES, FakeClock(), workers, timeouts={"search": seconds}, cache_size=cache_size)


def test_results_come_in_the_order_of_the_calls() -> None:
    def answer(arguments: Mapping[str, Any]) -> str:
        time.sleep(0.01 * (5 - int(arguments["query"])))
        return str(arguments["query"])

    results = toolbox(FakeTool(answer), workers=5).call_many([search(str(i)) for i in range(5)])
    assert [r.content for r in results] == ["0", "1", "2", "3", "4"]


def test_equal_calls_run_once_and_each_is_charged_the_recorded_cost() -> None:
    tool = FakeTool(lambda arguments: "x")
    box = toolbox(tool)
    first = box.call_many([search("a"), search("a")])
    again = box.call(search("a"))
    assert len(tool.seen) == 1
    assert first == [again, again]
    assert again.cached
    assert again.cost == PRICES.charge("search")
    assert again.wall_seconds == 1.0


def test_another_version_of_the_tool_is_asked_again() -> None:
    tool = FakeTool(lambda arguments: tool.version)
    box = toolbox(tool)
    assert box.call(search("a")).content == "1"
    tool.version = "2"
    assert box.call(search("a")).content == "2"


def test_failures_that_may_pass_are_not_remembered() -> None:
    tool = FakeTool(lambda arguments: ToolOutput("Error: down", is_error=True, cacheable=False))
    box = toolbox(tool)
    assert [box.call(search("a")).is_error for _ in range(2)] == [True, True]
    assert len(tool.seen) == 2


def test_the_memory_is_bounded() -> None:
    tool = FakeTool(lambda arguments: "x")
    box = toolbox(tool, cache_size=2)
    for query in ("a", "b", "c", "a"):
        box.call(search(query))
    assert len(tool.seen) == 4


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (ToolCall("browse", {}), "Error: there is no tool 'browse'."),
        (search(3), "Error: search(query): query must be text, is number."),
        (ToolCall("search", {}), "Error: search(query): query is missing."),
        (ToolCall("search", {"query": "a", "k": 1}), "Error: search(query): k is not an argument of search(query)."),
        (search("\ud800"), "Error: search(query): has half a surrogate pair (\\uD800-\\uDFFF)."),
    ],
)
def test_a_call_that_cannot_run_is_a_charged_error(call: ToolCall, reason: str) -> None:
    tool = FakeTool(lambda arguments: "x")
    bad, good = toolbox(tool).call_many([call, search("fine")])
    assert (bad.content, bad.is_error) == (reason, True)
    assert bad.cost == PRICES.charge(call.name)
    assert good.content == "x"


def test_a_call_that_hangs_is_given_up_and_charged_in_full() -> None:
    release = threading.Event()
    tool = FakeTool(lambda arguments: str(release.wait(10)) if arguments["query"] == "hang" else "fine")
    box = toolbox(tool, workers=1, seconds=0.1)
    hung, fine = box.call_many([search("hang"), search("b")])
    assert (hung.content, hung.is_error) == ("TimeoutError: search gave no answer within 0.1 s.", True)
    assert hung.cost == PRICES.charge("search")
    assert fine.content == "fine"
    assert box.call(search("c")).content == "fine"
    release.set()
    box.close()


def test_a_queue_longer_than_the_time_limit_is_not_a_time_out() -> None:
    tool = FakeTool(lambda arguments: time.sleep(0.05) or "fine")
    results = toolbox(tool, workers=1, seconds=0.1).call_many([search(str(i)) for i in range(6)])
    assert [r.content for r in results] == ["fine"] * 6


def test_no_more_calls_run_at_once_than_there_are_workers() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def answer(arguments: Mapping[str, Any]) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        return "x"

    toolbox(FakeTool(answer), workers=3).call_many([search(str(i)) for i in range(12)])
    assert most == 3


def test_a_tool_sees_its_arguments_and_nothing_else() -> None:
    tool = FakeTool(lambda arguments: "x")
    toolbox(tool).call(search("a"))
    assert tool.seen == [{"query": "a"}]


def test_a_tool_that_raises_is_a_bug_and_is_not_hidden() -> None:
    def broken(arguments: Mapping[str, Any]) -> str:
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        toolbox(FakeTool(broken)).call(search("a"))


def test_the_open_toolbox_holds_the_real_tools() -> None:
    box = open_toolbox(ToolSettings(), PRICES, PASSAGES, cut=cut_words, clock=FakeClock())
    found, computed = box.call_many([search("capital Chad Government"), ToolCall("python", {"code": "6 * 7"})])
    assert found.source_ids == ("chad-government-1",)
    assert computed.content == "42"
    assert [spec.name for spec in box.specs()] == ["search", "python"]
    assert box.specs(["python"]) == (PYTHON_SPEC,)
    box.close()


def test_the_engine_can_be_changed_behind_the_same_name() -> None:
    box = open_toolbox(ToolSettings(), PRICES, PASSAGES, cut=cut_words, clock=FakeClock(), engine="natural")
    assert box.call(search("What is the capital of the country of Chad?")).source_ids
    box.close()


def test_a_submitted_call_gives_what_calling_gives_and_equal_ones_run_once() -> None:
    started, go = threading.Event(), threading.Event()

    def answer(arguments: Mapping[str, Any]) -> str:
        started.set()
        assert go.wait(5)
        return f"about {arguments['query']}"

    tool = FakeTool(answer)
    box = Toolbox([tool], PriceSheet(), FakeClock())
    call, wrong = ToolCall("search", {"query": "Chad"}), ToolCall("fly", {})
    futures = [box.submit(call), box.submit(call), box.submit(wrong)]
    assert futures[2].result(5).is_error
    assert started.wait(5)
    go.set()
    results = [future.result(5) for future in futures[:2]]
    assert results[0] == results[1] == box.call(call) == box.submit(call).result(5)
    assert results[0].content == "about Chad"
    assert len(tool.seen) == 1
    box.close()


def test_a_submitted_call_that_never_returns_is_given_up_and_charged() -> None:
    never = threading.Event()
    tool = FakeTool(lambda arguments: str(never.wait(30)))
    box = Toolbox([tool], PriceSheet(), FakeClock(), timeouts={"search": 0.1})
    result = box.submit(ToolCall("search", {"query": "Chad"})).result(10)
    assert result.is_error
    assert "TimeoutError" in result.content
    assert result.cost.calls == 1
    never.set()
    box.close()
