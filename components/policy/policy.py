"""A language model as a policy: the two verbs `generate` and `score` over one set of weights (DESIGN 5).

Takes a Hugging Face causal LM with its tokenizer; gives actions and log-probabilities. Uses the fast Llama
forward where it is exact, else the Hugging Face module itself. It does not train: a trainer changes `model` and calls
`refresh`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from components.policy import llama
from components.policy.chat import Chat
from components.policy.constrained import ArgumentGrammars
from components.policy.generate import GenerateRequest, Generator
from components.policy.model_type import CausalLM
from components.policy.session import CachedSession, RecomputingSession, Session
from components.policy.settings import PolicySettings
from components.schema.trajectory import Action


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """Tokens whose likelihood is asked."""

    ids: tuple[int, ...]
    start: int
    """Position, at least 1, of the first token that is scored."""


class Policy:
    """Weights, tokenizer and the verbs."""

    def __init__(self, model: CausalLM, tokenizer: Any, settings: PolicySettings, *, policy_id: str) -> None:
        self.model, self.settings, self.policy_id = model, settings, policy_id
        self.chat = Chat(tokenizer)
        self._weights = llama.pack(model) if llama.supports(model.config) else None
        self._generator = Generator(
            self.chat,
            ArgumentGrammars(self.chat, vocabulary=int(model.config.vocab_size)),
            self.new_session,
            prefill_tokens=settings.prefill_tokens,
        )

    def new_session(self, rows: int) -> Session:
        """Empty rows under the current weights."""
        capacity = int(getattr(self.model.config, "max_position_embeddings", 2048))
        if self._weights is not None:
            return CachedSession(self._weights, rows=rows, capacity=capacity)
        return RecomputingSession(self.model, rows=rows, capacity=capacity)

    def refresh(self, layers: Iterable[int] | None = None) -> None:
        """Take over changed weights of `model`: those of `layers` and the final norm, or all when None."""
        self._generator.forget()
        if self._weights is None:
            return
        for index in range(len(self._weights.layers)) if layers is None else layers:
            self._weights.layers[index] = llama.pack_layer(self.model.model.layers[index])
        self._weights.head = llama.pack_head(self.model)

    @torch.no_grad()
    def generate(self, requests: Sequence[GenerateRequest]) -> list[Action]:
        """One action a request, in order; batches of `settings.slots`."""
        self.model.eval()
        actions: list[Action] = []
        for first in range(0, len(requests), self.settings.slots):
            actions += self._generator.generate(requests[first : first + self.settings.slots])
        return actions

    @torch.no_grad()
    def decide(self, requests: Sequence[GenerateRequest]) -> list[dict[str, float]]:
        """P over {answer, tool 1, ..., tool K} at each request's state, exactly (DESIGN 4)."""
        self.model.eval()
        probs: list[dict[str, float]] = []
        for first in range(0, len(requests), self.settings.slots):
            probs += self._generator.decide(requests[first : first + self.settings.slots])
        return probs

    @torch.no_grad()
    def score(self, requests: Sequence[ScoreRequest]) -> list[tuple[float, ...]]:
        """Natural log-probabilities of `ids[start:]`, one tuple a request, in order."""
        self.model.eval()
        scores: list[tuple[float, ...]] = [()] * len(requests)
        for batch in self._score_batches(requests):
            for number, logprobs in zip(batch, self._score(batch, requests), strict=True):
                scores[number] = tuple(logprobs.tolist())
        return scores

    def _score_batches(self, requests: Sequence[ScoreRequest]) -> list[list[int]]:
        batches: list[list[int]] = []
        for number in sorted(range(len(requests)), key=lambda n: len(requests[n].ids)):
            if not batches or (len(batches[-1]) + 1) * len(requests[number].ids) > self.settings.prefill_tokens:
                batches.append([])
            batches[-1].append(number)
        return batches

    def _score(self, batch: Sequence[int], requests: Sequence[ScoreRequest]) -> list[Tensor]:
        session = self.new_session(len(batch))
        inputs = [requests[number].ids[:-1] for number in batch]
        targets = [requests[number].ids[requests[number].start :] for number in batch]
        hidden = session.append(range(len(batch)), inputs, [len(target) for target in targets])
        logprobs = session.logits(torch.cat(hidden)).float().log_softmax(-1)
        flat = torch.tensor([token for target in targets for token in target], device=logprobs.device)
        return list(logprobs.gather(1, flat[:, None]).squeeze(1).split([len(target) for target in targets]))
