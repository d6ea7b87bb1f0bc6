"""A language model as a policy: the two verbs `generate` and `score` over one set of weights (DESIGN 5).

Takes a Hugging Face causal LM with its tokenizer; gives actions and log-probabilities. Uses the fast Llama
forward where it is exact, else the Hugging Face module itself. It does not train: a trainer changes `model` and calls
`refresh`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from components.policy import llama
from components.policy.chat import Chat
from components.policy.constrained import ArgumentGrammars
from components.policy.generate import Generating, Talk
from components.policy.model_type import CausalLM
from components.policy.prefix_tree import passes, plant
from components.policy.session import CachedSession, RecomputingSession, Session
from components.policy.settings import PolicySettings
from components.policy.tree_forward import States, any_states, llama_states
from components.policy.turn import GenerateRequest
from components.policy.writing import Writer
from components.schema.trajectory import ANSWER, Action

R = TypeVar("R")


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
        self.vocabulary = int(model.config.vocab_size)
        self.capacity = self._capacity()
        """Most tokens that the model can read."""
        grammars = ArgumentGrammars(self.chat, vocabulary=self.vocabulary)
        writer = Writer(
            self.chat,
            grammars,
            self.new_session,
            prefill_tokens=settings.prefill_tokens,
            kept_tokens=settings.kept_tokens,
        )
        self._generating = Generating(writer, slots=settings.slots, vocabulary=self.vocabulary, capacity=self.capacity)

    def _capacity(self) -> int:
        if self._weights is not None:
            return self._weights.shape.max_positions
        return int(getattr(self.model.config, "max_position_embeddings", 2048))

    def new_session(self, rows: int) -> Session:
        """Empty rows under the current weights."""
        if self._weights is not None:
            return CachedSession(self._weights, rows=rows, capacity=self.capacity)
        return RecomputingSession(self.model, rows=rows, capacity=self.capacity)

    def forget(self) -> None:
        """Drop what was read before, so that what follows does not depend on it even in its last digits."""
        self._generating.forget()

    def refresh(self, layers: Iterable[int] | None = None) -> None:
        """Take over changed weights of `model`: those of `layers` and the final norm, or all when None."""
        self.forget()
        if self._weights is None:
            return
        for index in range(len(self._weights.layers)) if layers is None else layers:
            self._weights.layers[index] = llama.pack_layer(self.model.model.layers[index])
        self._weights.head = llama.pack_head(self.model)

    @torch.no_grad()
    def generate(self, requests: Sequence[GenerateRequest]) -> list[Action]:
        """One action a request, in order; `settings.slots` side by side."""
        self.model.eval()
        return self._generating.generate(requests)

    @torch.no_grad()
    def converse(self, talks: Sequence[Talk[R]]) -> list[R]:
        """`generate` for conversations of several turns: while the tools of one work, the others go on."""
        self.model.eval()
        return self._generating.converse(talks)

    @torch.no_grad()
    def decide(self, requests: Sequence[GenerateRequest]) -> list[dict[str, float]]:
        """P over {answer, tool 1, ..., tool K} at each request's state, exactly (DESIGN 4)."""
        self.model.eval()
        return [turn.probs if turn.probs is not None else {ANSWER: 1.0} for turn in self._generating.read(requests)]

    @torch.no_grad()
    def hidden(self, requests: Sequence[GenerateRequest]) -> Tensor:
        """Final hidden states [N, hidden] at the end of each request's context, as the output embedding reads them.

        Zero where the context does not fit. Contexts are read in the rows that `generate` uses: none is read twice.
        """
        self.model.eval()
        states = torch.zeros(len(requests), int(self.model.config.hidden_size))
        for number, turn in enumerate(self._generating.read(requests)):
            if turn.hidden is not None:
                states[number] = turn.hidden.float().cpu()
        return states if self._weights is None else states * self.model.model.norm.weight.float().cpu()

    @torch.no_grad()
    def score(self, requests: Sequence[ScoreRequest]) -> list[tuple[float, ...]]:
        """Natural log-probabilities of `ids[start:]`, one tuple a request, in order.

        Raises:
            ValueError: a request cannot be scored; the message names it. None is scored then.
        """
        self.model.eval()
        for number, request in enumerate(requests):
            complaint = _complaint(request, vocabulary=self.vocabulary, capacity=self.capacity)
            if complaint:
                raise ValueError(f"score request {number}: {complaint}")
        scores: list[tuple[float, ...]] = [()] * len(requests)
        for batch in passes([request.ids for request in requests], limit=self.settings.prefill_tokens):
            for number, logprobs in zip(batch, self._score([requests[n] for n in batch]), strict=True):
                scores[number] = tuple(logprobs.tolist())
        return scores

    def _score(self, requests: Sequence[ScoreRequest]) -> list[Tensor]:
        """One forward over the tree of all requests; each token that they share is computed once."""
        forest = plant([request.ids[:-1] for request in requests])
        nodes = llama_states(self._weights, forest) if self._weights is not None else any_states(self.model, forest)
        targets = [request.ids[request.start :] for request in requests]
        places = [
            (number, position - 1)
            for number, request in enumerate(requests)
            for position in range(request.start, len(request.ids))
        ]
        used, row = States(nodes, forest).places(places).unique(return_inverse=True)
        logits = self._weights.head(nodes[used]) if self._weights is not None else self._head(nodes[used])
        flat = torch.tensor([token for target in targets for token in target], device=logits.device)
        logprobs = logits.float().log_softmax(-1)[row, flat]
        return list(logprobs.split([len(target) for target in targets]))

    def _head(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.model.get_output_embeddings()(hidden)
        return logits


def _complaint(request: ScoreRequest, *, vocabulary: int, capacity: int) -> str:
    """Why the request cannot be scored; "" when it can."""
    ids, start = request.ids, request.start
    if not 1 <= start < len(ids):
        return f"the first scored position {start} is not in 1..{len(ids) - 1}"
    if len(ids) - 1 > capacity:
        return f"{len(ids)} tokens do not fit the context of {capacity}"
    if min(ids) < 0 or max(ids) >= vocabulary:
        return f"a token id is not in 0..{vocabulary - 1}"
    return ""
