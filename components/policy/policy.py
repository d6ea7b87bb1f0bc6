"""A language model as a policy: the two verbs `generate` and `score` over one set of weights (DESIGN 5).

Takes a Hugging Face causal LM with its tokenizer; gives actions and log-probabilities. Uses the fast Llama
forward where it is exact, else the Hugging Face module itself. It does not train: a trainer changes `model` and calls
`refresh`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from components.policy import llama
from components.policy.chat import Chat
from components.policy.constrained import ArgumentGrammars
from components.policy.decision_head import DecisionHead, Roots
from components.policy.floor import Floor, Talk
from components.policy.generate import Generating
from components.policy.model_type import CausalLM
from components.policy.prefix_tree import Forest, passes, plant
from components.policy.session import CachedSession, RecomputingSession, Session
from components.policy.settings import PolicySettings
from components.policy.tree_forward import States, any_states, llama_states
from components.policy.turn import GenerateRequest, ScoreRequest, check_scorable
from components.policy.writing import Writer
from components.schema.trajectory import ANSWER, Action

R = TypeVar("R")


class Policy:
    """Weights, tokenizer and the verbs."""

    def __init__(self, model: CausalLM, tokenizer: Any, settings: PolicySettings, *, policy_id: str) -> None:
        self.model, self.settings, self.policy_id = model, settings, policy_id
        self.chat = Chat(tokenizer)
        self._packed: llama.LlamaWeights | None = None
        self.vocabulary = int(model.config.vocab_size)
        self.capacity = self._capacity()
        """Most tokens that the model can read."""
        self._roots = Roots(self._gained)
        self.grammars = ArgumentGrammars(self.chat, vocabulary=self.vocabulary)
        writer = Writer(
            self.chat,
            self.grammars,
            self.new_session,
            prefill_tokens=settings.prefill_tokens,
            kept_tokens=settings.kept_tokens,
            roots=self._roots,
        )
        self._generating = Generating(writer, slots=settings.slots, vocabulary=self.vocabulary, capacity=self.capacity)

    @property
    def decision_head(self) -> DecisionHead | None:
        """Decides at roots; None leaves that to the weights."""
        return self._roots.head

    @decision_head.setter
    def decision_head(self, head: DecisionHead | None) -> None:
        self._roots.head = head
        self._generating.forget()  # what was read before was decided by another

    @property
    def _weights(self) -> llama.LlamaWeights | None:
        """Laid out when they are first read: who only trains needs no second copy."""
        if self._packed is None and llama.supports(self.model.config):
            self._packed = llama.pack(self.model)
        return self._packed

    def _capacity(self) -> int:
        if llama.supports(self.model.config):
            return llama.most_positions(self.model.config)
        return int(getattr(self.model.config, "max_position_embeddings", 2048))

    def new_session(self, rows: int) -> Session:
        """Empty rows under the current weights."""
        if self._weights is not None:
            return CachedSession(self._weights, rows=rows, capacity=self.capacity)
        return RecomputingSession(self.model, rows=rows, capacity=self.capacity)

    @torch.no_grad()
    def warm(self) -> None:
        """Lay the weights out and have the kernels made that the first requests would wait for."""
        if self._weights is not None:
            llama.warm(self._weights, rows=min(self.capacity, self.settings.prefill_tokens), drawn=self.settings.slots)

    def forget(self) -> None:
        """Drop what was read before, so that what follows does not depend on it even in its last digits."""
        self._generating.forget()

    def refresh(self, layers: Iterable[int] | None = None) -> None:
        """Take over changed weights of `model`: those of `layers` and the final norm, or all when None."""
        self.forget()
        if self._packed is None:
            return
        for index in range(len(self._packed.layers)) if layers is None else layers:
            self._packed.layers[index] = llama.pack_layer(self.model.model.layers[index])
        self._packed.head = llama.pack_head(self.model)

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

    def live(self, wake: Callable[[], None]) -> Floor:
        """A floor that conversations may join at any time, for one thread, which alone uses the policy and computes no
        gradients; `wake` is called from any thread when a tool has answered."""
        self.model.eval()
        return self._generating.live(wake)

    def beside(self, rows: int) -> Floor:
        """A floor that conversations may join at any time, in lockstep; between its rounds the other verbs may be used.

        Its rounds compute no gradients if the caller sees to it (`torch.no_grad`).
        """
        self.model.eval()
        return self._generating.beside(rows)

    @torch.no_grad()
    def decide(self, requests: Sequence[GenerateRequest]) -> list[dict[str, float]]:
        """P over {answer, tool 1, ..., tool K} at each request's state, exactly (DESIGN 4).

        Where a head decides on a draft, that of the weights: nothing is written here.
        """
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
        return self._gained(states)

    def _gained(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., hidden] of a session, fp32 on the CPU, with the final norm's gain."""
        states = hidden.float().cpu()
        return states if self._weights is None else states * self.model.model.norm.weight.float().cpu()

    @torch.no_grad()
    def score(self, requests: Sequence[ScoreRequest]) -> list[tuple[float, ...]]:
        """Natural log-probabilities of `ids[start:]`, one tuple a request, in order.

        Raises:
            ValueError: a request cannot be scored; the message names it. None is scored then.
        """
        self.model.eval()
        check_scorable(requests, vocabulary=self.vocabulary, capacity=self.capacity)
        scores: list[tuple[float, ...]] = [()] * len(requests)
        for batch in passes([request.ids for request in requests], limit=self.settings.prefill_tokens):
            for number, logprobs in zip(batch, self._score([requests[n] for n in batch]), strict=True):
                scores[number] = tuple(logprobs.tolist())
        return scores

    def _score(self, requests: Sequence[ScoreRequest]) -> list[Tensor]:
        """One forward over the tree of all requests; each token that they share is computed once."""
        forest = plant([request.ids[:-1] for request in requests], device=next(self.model.parameters()).device)
        nodes = llama_states(self._weights, forest) if self._weights is not None else any_states(self.model, forest)
        targets = [request.ids[request.start :] for request in requests]
        places = [
            (number, position - 1)
            for number, request in enumerate(requests)
            for position in range(request.start, len(request.ids))
        ]
        used, row = States(nodes, forest).distinct(places)
        logits = self._weights.head(nodes[used]) if self._weights is not None else self._head(nodes[used])
        flat = torch.tensor([token for target in targets for token in target], device=logits.device)
        logprobs = logits.float().log_softmax(-1)[row, flat]
        return list(logprobs.split([len(target) for target in targets]))

    @torch.no_grad()
    def features(self, sequences: Sequence[tuple[int, ...]]) -> Tensor:
        """Final hidden state at the last token of each sequence, as the output embedding reads it. [N, hidden] fp32

        Raises:
            ValueError: a sequence is empty, or longer than the model can read.
        """
        self.model.eval()
        longest = max(map(len, sequences), default=0)
        if longest > self.capacity:
            raise ValueError(f"{longest} tokens do not fit the context of {self.capacity}")
        read = torch.empty(len(sequences), int(self.model.config.hidden_size))
        for batch in passes(sequences, limit=self.settings.prefill_tokens):
            forest = plant([sequences[number] for number in batch])
            states = States(self._states(forest), forest).at([(i, len(sequences[n]) - 1) for i, n in enumerate(batch)])
            read[batch] = states.float().cpu()
        return read

    def _states(self, forest: Forest) -> Tensor:
        """[nodes, hidden] after the final norm, its gain included."""
        if self._weights is None:
            return any_states(self.model, forest)
        gained: Tensor = llama_states(self._weights, forest) * self.model.model.norm.weight
        return gained

    def _head(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.model.get_output_embeddings()(hidden)
        return logits
