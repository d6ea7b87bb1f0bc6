"""A vLLM server over HTTP: its models, and completions of token ids. Takes prompts; gives validated replies.

Speaks the part of vLLM's OpenAI-compatible protocol that the client needs: `/v1/models` and `/v1/completions` with
`return_token_ids`, `logprobs`, `prompt_logprobs`, `allowed_token_ids` and `logit_bias` (vLLM 0.10.2 or later, started
with its default `--logprobs-mode raw_logprobs`). Knows no turns and no tools, and tries nothing twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import BaseModel, ValidationError

PLAIN: Mapping[str, Any] = {
    # The model folder's generation_config.json would set these otherwise: the policy is the model itself.
    "top_p": 1.0,
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "ignore_eos": True,
}


class ServerFailed(ConnectionError):  # noqa: N818 - says what happened
    """The server is down, too slow, or answers what cannot be used; the message names its address and the request."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What became of one prompt."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Of `tokens`; natural log of the model's own probability. NaN where the server has no number."""
    prompt_logprobs: tuple[float, ...]
    """Of the prompt's tokens after the first, if they were asked for, else empty."""


class _Number(BaseModel):
    logprob: float | None


class _Logprobs(BaseModel):
    token_logprobs: list[float | None]


class _Choice(BaseModel):
    index: int
    token_ids: list[int]
    logprobs: _Logprobs
    prompt_logprobs: list[dict[int, _Number] | None] | None = None


class _Reply(BaseModel):
    choices: list[_Choice]


class _Model(BaseModel):
    id: str
    max_model_len: int


class _Models(BaseModel):
    data: list[_Model]


def served_models(url: str, *, timeout: float) -> dict[str, int]:
    """Name of each model at `url` to the most tokens it can read.

    Raises:
        ServerFailed: the server cannot be asked, or is no vLLM server.
    """
    address = f"{url.rstrip('/')}/v1/models"
    try:
        response = httpx.get(address, timeout=timeout)
        models = _Models.model_validate(_body(response, address))
    except (httpx.HTTPError, ValidationError, ServerFailed) as error:
        raise ServerFailed(_told(address, "the list of models", error, timeout)) from error
    return {model.id: model.max_model_len for model in models.data}


class VllmServer:
    """One model of a server, while `async with` holds the connections."""

    def __init__(self, url: str, model: str, *, connections: int, timeout: float) -> None:
        """`timeout`: seconds without a sign of life until a request has failed."""
        self._address, self._model, self._timeout = f"{url.rstrip('/')}/v1/completions", model, timeout
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        # A request may wait for a connection for as long as those before it take.
        self._client = httpx.AsyncClient(limits=limits, timeout=httpx.Timeout(timeout, pool=None))

    async def __aenter__(self) -> VllmServer:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> None:
        await self._client.__aexit__(*exception)

    async def complete(self, prompts: Sequence[Sequence[int]], *, what: str, **parameters: Any) -> list[Completion]:
        """One completion a prompt, in order; `what` names the request in errors.

        Raises:
            ServerFailed: there is no usable answer.
        """
        asked = {
            "model": self._model,
            "prompt": [list(prompt) for prompt in prompts],
            "logprobs": 0,
            "return_token_ids": True,
            **PLAIN,
            **parameters,
        }
        try:
            response = await self._client.post(self._address, json=asked)
            reply = _Reply.model_validate(_body(response, self._address))
            return _completions(reply, prompts, scored="prompt_logprobs" in parameters)
        except (httpx.HTTPError, ValidationError, ServerFailed) as error:
            raise ServerFailed(_told(self._address, what, error, self._timeout)) from error

    async def score(self, sequences: Sequence[Sequence[int]], *, what: str) -> list[tuple[float, ...]]:
        """Log-probabilities of each sequence's tokens after the first."""
        completions = await self.complete(sequences, what=what, prompt_logprobs=0, max_tokens=1, temperature=0.0)
        return [completion.prompt_logprobs for completion in completions]


def _body(response: httpx.Response, address: str) -> Any:
    if response.is_success:
        try:
            return response.json()
        except (ValueError, RecursionError):
            raise ServerFailed("the reply is not JSON") from None
    raise ServerFailed(f"HTTP {response.status_code}: {' '.join(response.text.split())[:300]}")


def _completions(reply: _Reply, prompts: Sequence[Sequence[int]], *, scored: bool) -> list[Completion]:
    choices = sorted(reply.choices, key=lambda choice: choice.index)
    if [choice.index for choice in choices] != list(range(len(prompts))):
        raise ServerFailed(f"the reply has {len(choices)} choices for {len(prompts)} prompts")
    return [_completion(choice, prompt, scored=scored) for choice, prompt in zip(choices, prompts, strict=True)]


def _completion(choice: _Choice, prompt: Sequence[int], *, scored: bool) -> Completion:
    numbers = choice.logprobs.token_logprobs
    if not choice.token_ids or len(numbers) != len(choice.token_ids):
        raise ServerFailed(f"the reply has {len(choice.token_ids)} tokens and {len(numbers)} log-probabilities")
    found: list[float] = []
    if scored:
        rows = choice.prompt_logprobs or []
        if len(rows) != len(prompt) or any(t not in (row or {}) for t, row in zip(prompt[1:], rows[1:], strict=True)):
            raise ServerFailed("the reply lacks log-probabilities of the prompt's tokens")
        found = [_number((row or {})[token].logprob) for token, row in zip(prompt[1:], rows[1:], strict=True)]
    return Completion(tuple(choice.token_ids), tuple(map(_number, numbers)), tuple(found))


def _number(logprob: float | None) -> float:
    return math.nan if logprob is None else logprob


def _told(address: str, what: str, error: Exception, timeout: float) -> str:
    if isinstance(error, httpx.TimeoutException):
        reason = f"no answer within {timeout:g} s"
    elif isinstance(error, httpx.HTTPError):
        reason = f"the server cannot be reached ({type(error).__name__})"
    elif isinstance(error, ValidationError):
        first = error.errors()[0]
        reason = f"the reply is not vLLM's: {'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"
    else:
        reason = str(error)
    return f"{address}, {what}: {reason}"
