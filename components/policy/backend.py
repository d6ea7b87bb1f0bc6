"""The contract of a policy's backend: the verbs, whatever machine runs the model. Takes nothing; gives the type.

`Policy` (torch, in process) and `VllmClient` (a vLLM server) keep it; tests/components/policy/test_backend_contract.py
holds every backend to it. Who trains needs the weights and takes `Policy` itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from components.policy.chat import Chat
from components.policy.constrained import ArgumentGrammars
from components.policy.floor import Talk
from components.policy.turn import GenerateRequest, ScoreRequest
from components.schema.trajectory import Action

R = TypeVar("R")


class Backend(Protocol):
    """A model that acts.

    Results follow from weights and request alone: never from what else is asked at the same time. A request that cannot
    be carried out ends alone, and the others go on: REFUSED (empty prompt, unknown token ids, a decision that is not on
    offer, a grammar that nothing satisfies, logits that are not numbers; the text says why), TRUNCATED (the context
    does not fit, or the tokens run out) or CANCELLED.
    """

    policy_id: str
    """Name of the weights."""
    chat: Chat
    grammars: ArgumentGrammars
    capacity: int
    """Most tokens that the model can read."""

    def forget(self) -> None:
        """Drop what was read before: it may round the last digits of what follows."""

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Action]:
        """One action a request, in order. Log-probabilities are those of temperature 1 before any grammar."""

    def converse(self, talks: Sequence[Talk[R]]) -> list[R]:
        """What each conversation returns, in order; while the tools of one work, the others go on."""

    def decide(self, requests: Sequence[GenerateRequest]) -> list[dict[str, float]]:
        """P over {answer, tool 1, ..., tool K} of each state, exactly (DESIGN 4); without tools, or when the request
        cannot be carried out, the answer has it all."""

    def score(self, requests: Sequence[ScoreRequest]) -> list[tuple[float, ...]]:
        """Natural log-probabilities of `ids[start:]`, one tuple a request, in order.

        Raises:
            ValueError: a request cannot be scored; the message names it. None is scored then.
        """
