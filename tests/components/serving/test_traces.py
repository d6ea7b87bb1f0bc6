"""Traces of served answers: a known share, every call with its cost, no texts unless asked for, nobody waits."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

from served import World, client, leaning_policy, listening, toolbox, version, wait_until

from components.evaluation.spans import Span
from components.records.responses import ServedResponse
from components.schema.cost import NO_COST
from components.schema.trajectory import StopReason
from components.serving.conversation import Answer
from components.serving.traces import WAITING, Traces, answer_span, is_sampled

ANSWER = Answer("4", None, StopReason.ANSWERED, "", NO_COST, (), ("answer",))


def _response(response_id: str) -> ServedResponse:
    return ServedResponse(
        response_id, "2026-11-23T10:00:00.000+00:00", "qanat", "3", "d" * 64, "champion", "stop", "answered",
        ("answer",), 0, 0.0, 0.0, 0.0, 10, 2, 0.25,
    )  # fmt: skip


def test_the_share_is_kept_and_an_id_is_always_judged_alike() -> None:
    ids = [f"chatcmpl-{number}" for number in range(4000)]
    sampled = [one for one in ids if is_sampled(one, 0.1)]
    assert 0.08 < len(sampled) / len(ids) < 0.12
    assert sampled == [one for one in ids if is_sampled(one, 0.1)]
    assert not any(is_sampled(one, 0.0) for one in ids)
    assert all(is_sampled(one, 1.0) for one in ids)


def test_an_answer_is_shown_with_its_version_time_and_calls(tmp_path: Path) -> None:
    world = World(tmp_path, version("1", leaning_policy(), toolbox()), traces=1.0)
    with listening(world) as url:
        ask = {"model": "qanat", "messages": [{"role": "user", "content": "secret words"}], "tool_choice": "required"}
        answer = client(url).chat.completions.create(**ask, max_tokens=8)
        wait_until(lambda: world.traces)
    ((number, span),) = world.traces
    assert number == "1"
    assert span.attributes["response_id"] == answer.id
    assert span.attributes["version"] == "1"
    assert [call.name for call in span.children] == [one["name"] for one in answer.qanat["calls"]]  # type: ignore[attr-defined]
    (call, *_) = span.children
    assert call.attributes["cost.seconds"] > 0
    assert call.attributes["tool.version"]
    assert call.inputs == {"query": None}, "no texts unless the server is told to keep them"
    assert "secret words" not in repr(span)
    assert span.end_ns > span.start_ns


def test_texts_are_shown_scrubbed_where_they_are_kept(tmp_path: Path) -> None:
    world = World(tmp_path, version("1", leaning_policy(), toolbox()), traces=1.0, log_texts=True)
    with listening(world) as url:
        ask = {"model": "qanat", "messages": [{"role": "user", "content": "I am ann@example.org"}]}
        client(url).chat.completions.create(**ask, max_tokens=8)
        wait_until(lambda: world.traces)
    assert world.traces[0][1].inputs == {"question": "I am <email>"}


def test_a_slow_tracker_makes_nobody_wait_and_a_broken_one_ends_nothing() -> None:
    go, told, faults, kept = threading.Event(), list[str](), list[str](), list[Span]()

    def keep(number: str, span: Span) -> None:
        go.wait(30)
        if span.attributes["response_id"] == "r0":
            raise OSError("the tracker is down")
        kept.append(span)

    traces = Traces(keep, share=1.0, told=told.append, fault=faults.append)
    for number in range(WAITING + 10):
        traces.offer(_response(f"r{number}"), ANSWER, lambda text: text)
    assert 9 <= told.count("left_out") <= 10
    go.set()
    traces.close(30)
    assert told.count("failed") == 1
    assert faults == ["a trace of version 3 could not be kept: OSError: the tracker is down"]
    assert len(kept) == told.count("kept") == WAITING + 9 - told.count("left_out")


def test_a_tracker_that_hangs_does_not_hold_up_the_end_of_the_server() -> None:
    go, told = threading.Event(), list[str]()
    traces = Traces(lambda number, span: go.wait(30), share=1.0, told=told.append, fault=told.append)  # type: ignore[arg-type,func-returns-value]
    for number in range(WAITING + 10):
        traces.offer(_response(f"r{number}"), ANSWER, lambda text: text)
    began = time.monotonic()
    traces.close(0.2)
    assert time.monotonic() - began < 5
    assert "kept" not in told
    go.set()


def test_a_failed_answer_is_marked() -> None:
    good = _response("r")
    assert not answer_span(good, ANSWER, lambda text: text).failed
    assert answer_span(replace(good, finish="timeout"), ANSWER, lambda text: text).failed
