"""Joining: whoever comes while others write is answered as if alone, and nobody waits for the tools of others."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_models import chat, specs_of, tiny_policy

from components.policy.floor import Talk
from components.policy.turn import GenerateRequest
from components.schema.trajectory import ANSWER, Action

PROMPTS = ("What is the capital of Chad?", "2+2?", "Who are you?", "Name a river in Mali, please.", "Why?")


def _request(prompt: str, **changes: Any) -> GenerateRequest:
    specs = specs_of(("search", "python"))
    return replace(GenerateRequest(chat().prompt_ids(prompt, specs), specs), **changes)


def _turns(*requests: GenerateRequest) -> Talk[list[Action]]:
    actions = []
    for request in requests:
        action: Action = yield request
        actions.append(action)
    return actions


def _same(first: Action, second: Action) -> bool:
    close = torch.allclose(torch.tensor(first.logprobs), torch.tensor(second.logprobs), atol=1e-4)
    return close and (first.message, first.decision, first.stop) == (second.message, second.decision, second.stop)


def _wanted() -> list[GenerateRequest]:
    return [
        _request(prompt, seed=seed, temperature=1.0, answer_temperature=0.9, decision_temperature=1.0)
        for seed, prompt in enumerate(PROMPTS * 2)
    ]


@torch.no_grad()
def test_who_joins_a_running_batch_is_answered_as_if_alone() -> None:
    policy, requests = tiny_policy(slots=3), _wanted()
    floor, told = policy.live(lambda: None), dict[int, list[Action]]()
    for number, request in enumerate(requests):
        floor.add(
            _turns(request, replace(request, decision=ANSWER)), lambda done, number=number: told.update({number: done})
        )
        floor.round()  # the others are in the midst of their turns when the next one comes
    while floor.busy:
        floor.round()
    for number, request in enumerate(requests):
        policy.forget()
        for one, alone in zip(told[number], policy.generate([request, replace(request, decision=ANSWER)]), strict=True):
            assert _same(one, alone)


@torch.no_grad()
def test_nobody_waits_for_the_tool_of_another() -> None:
    policy, woken, tool = tiny_policy(slots=2), threading.Event(), Future[str]()
    floor, told = policy.live(woken.set), list[str]()

    def asks_a_tool() -> Talk[str]:
        yield _request(PROMPTS[0], decision="search")
        said: str = yield tool
        return said

    floor.add(asks_a_tool(), told.append)
    while floor.round():
        pass
    floor.add(_turns(_request(PROMPTS[1], decision=ANSWER)), lambda actions: told.append(actions[0].decision))
    while floor.round():
        pass
    assert told == [ANSWER]
    assert floor.busy
    assert not woken.is_set()
    tool.set_result("late")
    assert woken.is_set()
    floor.round()
    assert told == [ANSWER, "late"]
    assert not floor.busy


@torch.no_grad()
@pytest.mark.parametrize("live", [True, False])
def test_what_a_tool_raises_is_raised_in_the_conversation(live: bool) -> None:
    policy, tool = tiny_policy(), Future[str]()
    tool.set_exception(KeyError("broken"))

    def careful() -> Talk[str]:
        yield _request(PROMPTS[0], decision="search")
        try:
            yield tool
        except KeyError as error:
            return f"caught {error}"
        return "nothing was raised"

    if not live:
        assert policy.converse([careful()]) == ["caught 'broken'"]
        return
    floor, told = policy.live(lambda: None), list[str]()
    floor.add(careful(), told.append)
    while floor.busy:
        floor.round()
    assert told == ["caught 'broken'"]


def test_only_tools_are_decided_for_when_a_call_is_a_must() -> None:
    policy = tiny_policy()
    requests = [_request(prompt, seed=seed, decision_temperature=1.0) for seed, prompt in enumerate(PROMPTS * 4)]
    free = policy.generate(requests)
    must = policy.generate([replace(request, must_call=True) for request in requests])
    assert ANSWER in {action.decision for action in free}
    assert {action.decision for action in must} <= {"search", "python"}


def test_a_listener_hears_every_token_of_its_turn_once() -> None:
    policy, heard = tiny_policy(), list[int]()
    decisions = set[str]()

    def hear(decision: str, tokens: Any) -> None:
        decisions.add(decision)
        heard.extend(tokens)

    for decision in (ANSWER, "search"):
        heard.clear()
        (action,) = policy.generate([_request(PROMPTS[0], decision=decision, heard=hear)])
        assert tuple(heard) == action.message.token_ids
    assert decisions == {ANSWER, "search"}


@torch.no_grad()
def test_what_is_asked_between_the_rounds_of_a_floor_beside_disturbs_neither() -> None:
    policy, requests = tiny_policy(slots=4), _wanted()
    alone = [tiny_policy(slots=4).generate([request])[0] for request in requests]
    decided = [tiny_policy(slots=4).decide([request])[0] for request in requests]
    floor, told = policy.beside(3), dict[int, Action]()
    for number, request in enumerate(requests):
        floor.add(_turns(request), lambda done, number=number: told.update({number: done[0]}))
    between = 0
    while floor.busy:
        floor.round()
        number = between % len(requests)
        (action,) = policy.generate([requests[number]])
        assert _same(action, alone[number])
        assert policy.decide([requests[number]])[0] == pytest.approx(decided[number], abs=1e-5)
        between += 1
    assert between > 3
    assert all(_same(told[number], one) for number, one in enumerate(alone))


def test_one_floor_beside_at_a_time() -> None:
    policy = tiny_policy(slots=4)
    policy.beside(2).add(_turns(_request("Why?")), lambda done: None)
    with pytest.raises(RuntimeError, match="another floor is open beside"):
        policy.beside(2)
    policy.forget()
    assert not policy.beside(2).busy, "whoever forgets gives it up"
