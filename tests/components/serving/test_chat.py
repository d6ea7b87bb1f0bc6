"""The server as OpenAI's own client sees it: answers, tools, streams, limits and errors, over a real socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI
from served import HeldTool, World, client, leaning_policy, listening, random_policy, toolbox, version, wait_until

from components.policy.heads import QHead
from components.records.feedback import read_feedback
from components.records.responses import find_response
from components.serving.pricing import by_value
from components.tools.prices import PriceSheet

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather at a place.",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string", "enum": ["Bamako", "Faya"]}},
            "required": ["place"],
            "additionalProperties": False,
        },
    },
}
FISH = {"type": "object", "properties": {"x": {"type": "fish"}}}
STRAY_RESULT = [{"role": "user", "content": "x"}, {"role": "tool", "tool_call_id": "c", "content": ""}]
LEANING = "qanat@2"
"""The version that makes sense of tools; the champion writes bytes."""


def _tool(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "a", "parameters": schema}}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, str]]:
    tools = toolbox()
    versions = version("1", random_policy(), tools), version("2", leaning_policy(), tools)
    made = World(tmp_path_factory.mktemp("serving"), *versions, log_texts=True)
    with listening(made) as url:
        yield made, url


@pytest.fixture
def url(world: tuple[World, str]) -> str:
    return world[1]


@pytest.fixture
def ai(url: str) -> OpenAI:
    return client(url)


def _ask(ai: OpenAI, text: str = "What is the capital of Chad?", **more: Any) -> Any:
    return ai.chat.completions.create(**{"model": "qanat", "messages": [{"role": "user", "content": text}], **more})


def _post(url: str, body: Any, **headers: str) -> httpx.Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(
        f"{url}/v1/chat/completions", content=raw, headers={"content-type": "application/json", **headers}, timeout=60
    )


def test_an_answer_carries_version_digest_usage_and_cost(world: tuple[World, str], ai: OpenAI) -> None:
    answer = _ask(ai, max_tokens=12)
    assert answer.system_fingerprint == "qanat:1:000000000000"
    assert answer.model == "qanat@1"
    assert answer.usage.completion_tokens <= 12 + 160
    assert answer.qanat["cost"]["calls"] == len(answer.qanat["calls"])
    recorded = find_response(world[0].folder, answer.id)
    assert recorded is not None
    assert (recorded.version, recorded.channel, recorded.question) == ("1", "champion", "What is the capital of Chad?")
    assert recorded.units == answer.qanat["cost"]["units"]


def test_the_same_request_and_seed_give_the_same_answer_whoever_else_asks(ai: OpenAI) -> None:
    questions = [f"Question {number}?" for number in range(12)]

    def said(number: int) -> str:
        answer = _ask(ai, questions[number], seed=number, temperature=1.0, max_tokens=24, tool_choice="none")
        return str(answer.choices[0].message.content)

    alone = [said(number) for number in range(12)]
    with ThreadPoolExecutor(12) as crowd:
        assert list(crowd.map(said, range(12))) == alone
    assert len(set(alone)) > 8


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("qanat", {"tool_choice": "none", "temperature": 1.2, "seed": 3, "max_tokens": 60}),
        ("qanat", {"tool_choice": "none", "temperature": 1.2, "seed": 4, "max_tokens": 60}),
        (LEANING, {}),
        (LEANING, {"tool_choice": {"type": "function", "function": {"name": "search"}}}),
        (LEANING, {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "weather"}}}),
    ],
)
def test_a_stream_says_what_the_whole_answer_says(ai: OpenAI, model: str, more: dict[str, Any]) -> None:
    whole = _ask(ai, model=model, **more).choices[0]
    text, calls, finish, usage = "", dict[str, str](), None, None
    for chunk in _ask(ai, model=model, stream=True, stream_options={"include_usage": True}, **more):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            calls |= {call.function.name: call.function.arguments for call in choice.delta.tool_calls or ()}
            finish = choice.finish_reason or finish
    assert text == (whole.message.content or "")
    assert calls == {call.function.name: call.function.arguments for call in whole.message.tool_calls or ()}
    assert finish == whole.finish_reason
    assert usage is not None


def test_the_servers_tools_are_called_by_the_server(ai: OpenAI) -> None:
    choice = {"type": "function", "function": {"name": "search"}}
    answer = _ask(ai, model=LEANING, tool_choice=choice)
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.choices[0].message.tool_calls is None
    assert answer.qanat["calls"][0]["name"] == "search"
    assert answer.qanat["cost"]["units"] >= 1.0
    none = _ask(ai, model=LEANING, tool_choice="none")
    assert none.qanat["calls"] == []


def test_a_call_to_the_clients_tool_comes_back_and_its_result_is_read(ai: OpenAI) -> None:
    choice = {"type": "function", "function": {"name": "weather"}}
    messages: list[Any] = [{"role": "user", "content": "How is Faya?"}]
    first = ai.chat.completions.create(model=LEANING, messages=messages, tools=[WEATHER], tool_choice=choice)  # type: ignore[call-overload]
    (call,) = first.choices[0].message.tool_calls
    assert first.choices[0].finish_reason == "tool_calls"
    assert json.loads(call.function.arguments)["place"] in ("Bamako", "Faya")
    messages += [
        first.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "It rains."},
    ]
    second = ai.chat.completions.create(model=LEANING, messages=messages, tools=[WEATHER], tool_choice="none")  # type: ignore[call-overload]
    assert second.choices[0].finish_reason in ("stop", "length")
    assert second.usage.prompt_tokens > first.usage.prompt_tokens


def test_a_required_call_is_made(ai: OpenAI) -> None:
    own = {"tools": [WEATHER], "extra_body": {"server_tools": []}}
    answer = _ask(ai, "Hello", model=LEANING, tool_choice="required", **own)
    assert answer.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("changes", "status", "param"),
    [
        ({"model": "gpt"}, 404, "model"),
        ({"model": "qanat@99"}, 404, "model"),
        ({"model": "qanat@challenger"}, 404, "model"),
        ({"model": "qanat@\ud800"}, 400, "model"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "assistant", "content": "Hi"}]}, 400, "messages"),
        ({"messages": [{"role": "user", "content": " "}]}, 400, "messages"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, 400, "messages"),
        ({"messages": STRAY_RESULT}, 400, "messages[1].tool_call_id"),
        ({"messages": [{"role": "user", "content": "word " * 2000}]}, 400, "messages"),
        ({"temperature": -1}, 400, "temperature"),
        ({"n": 2}, 400, "n"),
        ({"stop": ["x"]}, 400, "stop"),
        ({"price": 0.5}, 400, "price"),
        ({"server_tools": ["fly"]}, 400, "server_tools"),
        ({"tools": [{**WEATHER, "function": {"name": "search"}}]}, 400, "tools"),
        ({"tools": [WEATHER, WEATHER]}, 400, "tools"),
        ({"tools": [_tool({"type": "array"})]}, 400, "tools[0].function.parameters"),
        ({"tools": [_tool(FISH)]}, 400, "tools[0].function.parameters"),
        ({"tool_choice": {"type": "function", "function": {"name": "fly"}}}, 400, "tool_choice"),
        ({"tool_choice": "required", "server_tools": []}, 400, "tool_choice"),
    ],
)  # fmt: skip
def test_a_users_mistake_is_told_in_openais_form(url: str, changes: Any, status: int, param: str) -> None:
    answer = _post(url, {"model": "qanat", "messages": [{"role": "user", "content": "Hi"}], **changes})
    error = answer.json()["error"]
    assert answer.status_code == status, answer.text
    assert error["param"].startswith(param), answer.text
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[" * 5000, b'"x"', b'{"model": NaN}', b'{"a": ' + b"9" * 5000 + b"}"]
)
def test_a_body_that_is_no_request_is_a_400(url: str, body: bytes) -> None:
    answer = _post(url, body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_the_clients_errors_are_those_of_openai(ai: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt'"):
        _ask(ai, model="gpt")
    with pytest.raises(openai.BadRequestError, match="cannot move its price"):
        _ask(ai, extra_body={"price": 2.0})


def test_models_are_listed(ai: OpenAI) -> None:
    assert [model.id for model in ai.models.list()] == ["qanat", "qanat@1", "qanat@2"]
    assert ai.models.retrieve("qanat@2").id == "qanat@2"


def test_health_readiness_and_metrics_are_told(url: str, ai: OpenAI) -> None:
    _ask(ai, max_tokens=4)
    assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}
    ready = httpx.get(f"{url}/readyz")
    assert ready.status_code == 200
    assert ready.json()["champion"]["version"] == "1"
    shown = httpx.get(f"{url}/metrics").text
    assert 'qanat_served_version{digest="000000000000",role="champion",version="1"} 1.0' in shown
    assert 'qanat_responses_total{channel="champion"' in shown


def test_feedback_joins_its_response_and_personal_data_is_taken_out(world: tuple[World, str], ai: OpenAI) -> None:
    made, url = world
    answer = _ask(ai, "Write to ann@example.org, please.", max_tokens=4, tool_choice="none")
    sent = {"response_id": answer.id, "thumbs": "down", "correction": "Call +223 20 22 44 60."}
    told = httpx.post(f"{url}/v1/feedback", json=sent)
    assert told.status_code == 201
    kept = read_feedback(made.folder / "feedback.jsonl").rows[-1]
    assert kept.feedback_id == told.json()["feedback_id"]
    assert (kept.question, kept.correction) == ("Write to <email>, please.", "Call <phone>.")
    assert kept.answer is not None
    missing = httpx.post(f"{url}/v1/feedback", json={**sent, "response_id": "chatcmpl-none"})
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "response_not_found")
    odd = httpx.post(
        f"{url}/v1/feedback",
        content=json.dumps({**sent, "correction": "\ud800"}),
        headers={"content-type": "application/json"},
    )
    assert odd.status_code == 400


def test_texts_are_not_kept_unless_it_was_asked_for(tmp_path: Path) -> None:
    world = World(tmp_path, version("1", random_policy(), toolbox()))
    with listening(world) as url:
        answer = _ask(client(url), "my secret", max_tokens=4)
    assert find_response(tmp_path, answer.id) is not None
    assert all("my secret" not in file.read_text() for file in tmp_path.iterdir())


def test_without_a_champion_nothing_is_answered_and_everything_is_told(tmp_path: Path) -> None:
    with listening(World(tmp_path)) as url:
        assert httpx.get(f"{url}/healthz").status_code == 200
        ready = httpx.get(f"{url}/readyz")
        assert (ready.status_code, ready.json()["status"]) == (503, "no champion yet")
        answer = _post(url, {"model": "qanat", "messages": [{"role": "user", "content": "Hi"}]})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_champion")
        assert int(answer.headers["retry-after"]) >= 1


def test_with_keys_nobody_else_comes_in(tmp_path: Path) -> None:
    world = World(tmp_path, version("1", random_policy(), toolbox()))
    with listening(world, keys=("one", "zwei-ü")) as url:
        for headers in (
            {},
            {"authorization": "Bearer two"},
            {"authorization": "Basic one"},
            {"authorization": "Bearer"},
        ):
            refused = _post(url, {}, **headers)
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
        assert httpx.get(f"{url}/readyz").status_code == 200
        assert _ask(client(url, api_key="one"), max_tokens=2).model == "qanat@1"
        with pytest.raises(openai.AuthenticationError):
            _ask(client(url, api_key="on"), max_tokens=2)


def test_a_strange_host_name_is_refused(url: str) -> None:
    assert httpx.get(f"{url}/healthz", headers={"host": "rebound.example:80"}).json()["error"]["code"] == "unknown_host"
    assert httpx.get(f"{url}/healthz", headers={"host": "localhost:1234"}).status_code == 200


def test_a_large_body_is_refused(url: str) -> None:
    assert _post(url, b"x" * 300_000).status_code == 413

    def pieces() -> Iterator[bytes]:
        yield from (b"x" * 100_000 for _ in range(5))

    told = httpx.post(f"{url}/v1/chat/completions", content=pieces())
    assert told.status_code == 413


def test_who_comes_when_all_places_are_taken_is_told_to_come_later(tmp_path: Path) -> None:
    tool = HeldTool()
    limits = {"concurrent": 1, "waiting": 0}
    world = World(tmp_path, version("2", leaning_policy(), toolbox(tool)), limits=limits)
    with listening(world) as url, ThreadPoolExecutor(1) as other:
        choice = {"type": "function", "function": {"name": "python"}}
        first = other.submit(_ask, client(url), tool_choice=choice)
        assert tool.called.wait(60)
        with pytest.raises(openai.RateLimitError) as refused:
            _ask(client(url))
        assert int(refused.value.response.headers["retry-after"]) >= 1
        tool.go.set()
        assert first.result(60).qanat["calls"][0]["name"] == "python"
        assert _ask(client(url), tool_choice="none").model == "qanat@2"


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_takes_too_long_is_given_up(tmp_path: Path, stream: bool) -> None:
    tool = HeldTool()
    world = World(tmp_path, version("2", leaning_policy(), toolbox(tool)), limits={"seconds": 1.0})
    choice = {"type": "function", "function": {"name": "python"}}
    with listening(world) as url:
        with pytest.raises(openai.APIError, match="no answer within 1 s"):
            list(_ask(client(url), tool_choice=choice, stream=True)) if stream else _ask(
                client(url), tool_choice=choice
            )
        tool.go.set()
        wait_until(lambda: not world.stock.held()[0].leases)
    assert world.service.admission.inside == 0


@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_gives_the_place_back(tmp_path: Path, stream: bool) -> None:
    tool = HeldTool()
    world = World(tmp_path, version("2", leaning_policy(), toolbox(tool)))
    choice = {"type": "function", "function": {"name": "python"}}
    body = {
        "model": "qanat",
        "messages": [{"role": "user", "content": "2+2?"}],
        "tool_choice": choice,
        "stream": stream,
    }
    with listening(world) as url:
        leaving = threading.Thread(target=_leave, args=(url, body))
        leaving.start()
        assert tool.called.wait(60)
        leaving.join()
        if stream:  # a stream finds out when it has something to say
            tool.go.set()
        wait_until(lambda: world.service.admission.inside == 0)
        tool.go.set()
        wait_until(lambda: not world.stock.held()[0].leases)
    (line,) = (next(iter(tmp_path.glob("responses-*"))).read_text()).splitlines()
    assert json.loads(line)["finish"] == "cancelled" or stream


def _leave(url: str, body: dict[str, Any]) -> None:
    with pytest.raises(httpx.TimeoutException):
        httpx.post(f"{url}/v1/chat/completions", json=body, timeout=1.0)


def test_a_price_moves_the_decision_between_answer_and_call(tmp_path: Path) -> None:
    policy, tools = leaning_policy(), toolbox()
    head = QHead(policy.model.config.hidden_size, 4, low=-1.0, high=1.0)  # knows no difference: only the price decides
    at_price = by_value(policy, head, None, trained_price=0.1, charge=tools.charge, units=PriceSheet().units)
    world = World(tmp_path, version("2", policy, tools, at_price=at_price))
    with listening(world) as url:
        dear, cheap = (_ask(client(url), extra_body={"price": price}) for price in (5.0, 0.0))
    assert dear.qanat["calls"] == []
    assert cheap.qanat["calls"], "calls that cost less than they did in training are worth making"
    assert find_response(tmp_path, dear.id).price == 5.0  # type: ignore[union-attr]


def test_a_model_that_reads_prices_is_told_the_level_nearest_to_the_price_asked_for(tmp_path: Path) -> None:
    policy, tools = leaning_policy(), toolbox()
    plain = version("1", policy, tools)
    world = World(tmp_path, version("2", policy, tools, levels=(0.0, 0.125)), plain)
    with listening(world) as url:
        read = [_ask(client(url), extra_body=body).usage.prompt_tokens for body in ({}, {"price": 9}, {"price": 0})]
        untold = _ask(client(url), model="qanat@1").usage.prompt_tokens
    usual, dear, free = read
    said = [policy.chat.encode(f"\nPrice of a call: {price}.") for price in ("0.125", "0")]
    assert usual == dear, "the usual price is nearest to the same level"
    assert dear - free == len(said[0]) - len(said[1])
    assert untold < free


def test_a_tool_that_breaks_fails_one_request_only(tmp_path: Path) -> None:
    class Broken(HeldTool):
        def call(self, arguments: Any) -> Any:
            raise RuntimeError("a bug in the tool")

    world = World(tmp_path, version("2", leaning_policy(), toolbox(Broken())))
    with listening(world) as url:
        with pytest.raises(openai.InternalServerError):
            _ask(client(url), tool_choice={"type": "function", "function": {"name": "python"}})
        assert _ask(client(url), tool_choice="none").choices[0].message.content
    assert "a bug in the tool" in world.faults[0]
