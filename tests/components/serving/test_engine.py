"""The engine: whoever joins is answered as if alone, and a failure reaches those it concerns and nobody else."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from served import random_policy

from components.policy.floor import Talk
from components.policy.policy import Policy
from components.policy.turn import GenerateRequest
from components.schema.trajectory import Action
from components.serving.engine import Closed, LiveEngine


class FailsOnce:
    """A policy whose model fails in the first round."""

    def __init__(self, policy: Policy) -> None:
        self._policy, self.forgotten, self.floors = policy, 0, 0

    def forget(self) -> None:
        self.forgotten += 1
        self._policy.forget()

    def live(self, wake: Callable[[], None]) -> Any:
        self.floors += 1
        return _Failing() if self.floors == 1 else self._policy.live(wake)


class _Failing:
    """A floor on which nothing goes on."""

    busy = False

    def add(self, talk: Talk[Any], ended: Any) -> None:
        self.busy = True

    def round(self) -> bool:
        raise MemoryError("no room for the cache")


def _request(policy: Policy, number: int) -> GenerateRequest:
    ids = policy.chat.prompt_ids(f"Question {number}", ())
    return GenerateRequest(ids, (), answer_temperature=1.0, seed=number, max_answer_tokens=8 + number % 5)


def _one(request: GenerateRequest) -> Talk[Action]:
    action: Action = yield request
    return action


def test_many_threads_share_one_engine_and_each_gets_what_it_would_get_alone() -> None:
    policy = random_policy(5)
    requests = [_request(policy, number) for number in range(24)]
    engine = LiveEngine(policy, name="test")
    with ThreadPoolExecutor(24) as crowd:
        together = list(crowd.map(lambda request: engine.submit(_one(request)).result(120), requests))
    engine.close()
    for request, action in zip(requests, together, strict=True):
        policy.forget()
        (alone,) = policy.generate([request])
        assert action.message == alone.message
        assert torch.allclose(torch.tensor(action.logprobs), torch.tensor(alone.logprobs), atol=1e-4)


def test_a_conversation_that_raises_fails_alone() -> None:
    policy = random_policy()
    engine = LiveEngine(policy, name="test")

    def raises() -> Talk[Action]:
        yield _request(policy, 0)
        raise KeyError("a bug")

    bad, good = engine.submit(raises()), engine.submit(_one(_request(policy, 1)))
    with pytest.raises(KeyError, match="a bug"):
        bad.result(120)
    assert good.result(120).message.token_ids
    engine.close()


def test_when_the_model_fails_those_under_way_hear_of_it_and_the_next_are_answered() -> None:
    policy, told = random_policy(), list[BaseException]()
    failing = FailsOnce(policy)
    engine = LiveEngine(failing, name="test", told=told.append)  # type: ignore[arg-type]
    with pytest.raises(MemoryError, match="no room"):
        engine.submit(_one(_request(policy, 0))).result(120)
    assert engine.submit(_one(_request(policy, 1))).result(120).message.token_ids
    engine.close()
    assert [str(error) for error in told] == ["no room for the cache"]
    assert failing.forgotten == 1


def test_a_closed_engine_ends_what_is_under_way_and_takes_nothing_more() -> None:
    policy = random_policy()
    engine = LiveEngine(policy, name="test")
    futures = [engine.submit(_one(_request(policy, number))) for number in range(4)]
    engine.close()
    assert all(future.done() for future in futures)
    with pytest.raises(Closed):
        engine.submit(_one(_request(policy, 9)))
