"""A small server that speaks vLLM's protocol: the subset that the client uses, over a plain Hugging Face forward.

Takes a causal LM; gives an address on this machine. Shares no code with the engine or the client: it recomputes every
prefix, samples with `torch.multinomial`, and refuses parameters that vLLM's CompletionRequest does not have.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import torch
from local_server import served

PARAMETERS = {
    "model", "prompt", "echo", "frequency_penalty", "logit_bias", "logprobs", "max_tokens", "n", "presence_penalty",
    "seed", "stop", "stream", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "stop_token_ids",
    "include_stop_str_in_output", "ignore_eos", "min_tokens", "allowed_token_ids", "prompt_logprobs",
    "return_tokens_as_token_ids", "return_token_ids", "structured_outputs",
}  # fmt: skip


class BadRequest(ValueError):  # noqa: N818 - what vLLM calls it
    """What vLLM answers with HTTP 400."""


class VllmDouble:
    """A model behind an address."""

    def __init__(self, model: Any, *, name: str = "tiny", length: int = 1024) -> None:
        """`length`: most tokens the model may read, prompt and completion together."""
        self._model, self.name, self.length = model.eval(), name, length
        self._lock = threading.Lock()
        self.asked: list[dict[str, Any]] = []
        """Bodies of the completion requests so far."""
        self.arrived = threading.Event()
        """Set as soon as a completion is asked for."""
        self.hold = threading.Event()
        """Answers wait until it is set."""
        self.hold.set()
        self.garble: Any = None
        """Answered in place of a completion: a body to send as it is, or a function of the true reply."""
        self.url = ""

    def models(self) -> dict[str, Any]:
        return {"object": "list", "data": [{"id": self.name, "object": "model", "max_model_len": self.length}]}

    def complete(self, body: dict[str, Any]) -> Any:
        """The reply to `/v1/completions`."""
        self.asked.append(body)
        unknown = sorted(set(body) - PARAMETERS)
        if unknown:
            raise BadRequest(f"unknown parameters: {unknown}")
        if body["model"] != self.name:
            raise BadRequest(f"The model `{body['model']}` does not exist.")
        prompts = body["prompt"] if isinstance(body["prompt"][0], list) else [body["prompt"]]
        with self._lock, torch.no_grad():
            choices = [self._choice(index, prompt, body) for index, prompt in enumerate(prompts)]
        reply = {"object": "text_completion", "model": self.name, "choices": choices}
        return self.garble(reply) if callable(self.garble) else reply if self.garble is None else self.garble

    def _choice(self, index: int, prompt: list[int], body: dict[str, Any]) -> dict[str, Any]:
        most, vocabulary = body.get("max_tokens", 16), self._model.config.vocab_size
        if not prompt or len(prompt) + most > self.length:
            raise BadRequest(f"the prompt has {len(prompt)} tokens, at most {self.length - most} fit")
        if most < 1 or max(prompt) >= vocabulary or body.get("allowed_token_ids") == []:
            raise BadRequest("a parameter is out of range")
        ids, logprobs = list(prompt), []
        generator = torch.Generator().manual_seed(body.get("seed", 0) % 2**63)
        while len(logprobs) < most:
            token, logprob = self._next(ids, body, generator)
            ids.append(token)
            logprobs.append(max(logprob, -9999.0))
            if token in body.get("stop_token_ids", ()):
                break
        return {
            "index": index,
            "text": "",
            "token_ids": ids[len(prompt) :] if body.get("return_token_ids") else None,
            "logprobs": None if body.get("logprobs") is None else {"token_logprobs": logprobs, "tokens": []},
            "prompt_logprobs": None if body.get("prompt_logprobs") is None else self._prompt_logprobs(prompt),
            "finish_reason": "length" if len(logprobs) == most else "stop",
            "stop_reason": None,
        }

    def _next(self, ids: list[int], body: dict[str, Any], generator: torch.Generator) -> tuple[int, float]:
        """The next token with the log-probability that the model itself gives it (`raw_logprobs`)."""
        logits = self._model(torch.tensor([ids]), logits_to_keep=1).logits[0, -1].double()
        raw = logits.log_softmax(-1)
        for token, bias in (body.get("logit_bias") or {}).items():
            logits[int(token)] += bias
        if body.get("allowed_token_ids"):
            allowed = torch.full_like(logits, -math.inf)
            allowed[body["allowed_token_ids"]] = 0.0
            logits = logits + allowed
        if body.get("temperature", 1.0) == 0 or bool(logits.isnan().any()):
            token = int(logits.argmax())
        else:
            weights = (logits / body.get("temperature", 1.0)).softmax(-1)
            token = int(torch.multinomial(weights, 1, generator=generator))
        return token, float(raw[token])

    def _prompt_logprobs(self, prompt: list[int]) -> list[dict[str, Any] | None]:
        raw = self._model(torch.tensor([prompt])).logits[0].double().log_softmax(-1)
        rows = [{str(token): {"logprob": float(raw[place, token])}} for place, token in enumerate(prompt[1:])]
        return [None, *rows]


@contextmanager
def serving(double: VllmDouble) -> Iterator[VllmDouble]:
    """The double at its address, for the time of a `with`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(200, double.models())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            double.arrived.set()
            double.hold.wait()
            try:
                self._send(200, double.complete(body))
            except BadRequest as error:
                self._send(400, {"error": {"message": str(error), "type": "BadRequestError", "code": 400}})

        def _send(self, status: int, content: Any) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client has gone, as it may

        def log_message(self, *arguments: Any) -> None:
            """Says nothing."""

    with served(Handler, release=double.hold) as double.url:
        yield double
