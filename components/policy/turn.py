"""What is asked of a policy (`GenerateRequest`, `ScoreRequest`), and how far one turn is written (`Turn`).

Takes requests; says which of them cannot be carried out, and why. Runs no model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from components.policy.constrained import ArgumentMatcher
from components.policy.sampling import uniforms
from components.schema.tool import ToolSpec
from components.schema.trajectory import ANSWER, StopReason

CALL_ROOM = 32
"""Tokens of a call that are not arguments, at most."""

Key = tuple[tuple[int, ...], tuple[str, ...]]
"""Context and names of the tools shown: turns with the same key are read once."""


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One turn to write."""

    context_ids: tuple[int, ...]
    specs: tuple[ToolSpec, ...]
    """Tools that may be called; none leaves only the answer."""
    decision: str | None = None
    """A forced decision; None lets the policy decide."""
    temperature: float = 0.0
    """Of argument tokens; 0 is greedy."""
    answer_temperature: float = 0.0
    decision_temperature: float = 0.0
    seed: int = 0
    min_answer_tokens: int = 0
    """Tokens before which an answer may not end."""
    max_answer_tokens: int = 32
    max_argument_tokens: int = 48
    max_context_tokens: int = 640
    keep: bool = False
    """Whether what is computed here is kept for contexts that go on from it, as those of a search do."""
    at_root: bool = False
    """Whether nothing was called yet: there a decision head decides, if the model has one."""
    must_call: bool = False
    """Whether the policy may decide for tools only; a forced decision goes before it."""
    heard: Callable[[str, Sequence[int]], None] | None = None
    """Is told the decision and the next tokens of the turn as they are written."""
    cancelled: threading.Event | None = None
    """Set by whoever does not want the turn any more: it ends CANCELLED at the next token."""


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """Tokens whose likelihood is asked."""

    ids: tuple[int, ...]
    start: int
    """Position, at least 1, of the first token that is scored."""


@dataclass(slots=True)
class Turn:
    """One request while it is being written."""

    request: GenerateRequest
    uniform: list[float]
    place: int = -1
    """Row of the session; -1 before it has one."""
    decision: str = ANSWER
    probs: dict[str, float] | None = None
    matcher: ArgumentMatcher | None = None
    tokens: list[int] = field(default_factory=list)
    written: list[bool] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    hidden: Tensor | None = None
    """[hidden] at the last token seen; what the next token is drawn from."""
    done: bool = False
    stop: StopReason | None = None
    reason: str = ""
    """Why the request was refused."""
    drafting: bool = False
    """An answer is being written that may yet be left for a call (`DecisionHead.drafts`); nobody hears it before."""
    states: list[Tensor] = field(default_factory=list)
    """[hidden] that each token of the draft was drawn from, where the head reads final states"""
    draft: tuple[int, ...] = ()
    """Tokens of the answer that was left."""

    def add(self, tokens: Sequence[int], *, written: bool, logprob: float = 0.0) -> None:
        self.tokens.extend(tokens)
        self.written.extend([written] * len(tokens))
        self.logprobs.extend([logprob] * len(tokens))
        if not self.drafting:
            self._tell(tokens)

    def _tell(self, tokens: Sequence[int]) -> None:
        if self.request.heard is not None and tokens:
            self.request.heard(self.decision, tokens)

    def keep_draft(self) -> None:
        """The draft is the answer."""
        self.drafting = False
        self._tell(self.tokens)

    def leave_draft(self) -> None:
        """The turn begins anew, as the call that was decided on."""
        self.drafting, self.done, self.stop, self.draft = False, False, None, tuple(self.tokens)
        for written in (self.tokens, self.written, self.logprobs):
            written.clear()

    def temperature(self) -> float:
        return self.request.answer_temperature if self.decision == ANSWER else self.request.temperature

    def chosen(self) -> int:
        """Tokens the policy chose so far."""
        return sum(self.written)

    def left(self) -> int:
        """Tokens that may still be chosen."""
        request = self.request
        return (request.max_answer_tokens if self.decision == ANSWER else request.max_argument_tokens) - self.chosen()

    def end(self, stop: StopReason | None = None) -> None:
        """The turn is over."""
        self.done, self.stop = True, stop

    def refuse(self, reason: str) -> None:
        """The turn is over, and what was written of it is not used: its text is the reason."""
        self.end(StopReason.REFUSED)
        self.reason = reason
        for written in (self.tokens, self.written, self.logprobs):
            written.clear()

    def begun(self) -> bool:
        """Whether the turn is being written: read, and not over."""
        return self.place >= 0 and not self.done

    def key(self) -> Key:
        return self.request.context_ids, tuple(spec.name for spec in self.request.specs)

    def undecided(self) -> bool:
        return self.request.decision is None and bool(self.request.specs)


def open_turn(request: GenerateRequest, *, vocabulary: int, capacity: int) -> Turn:
    """The request as a turn; over at once when it cannot be carried out. `capacity`: most tokens the model can read."""
    turn = Turn(request, list(uniforms(request.seed, 256)))
    context = request.context_ids
    room = max(request.max_answer_tokens, request.max_argument_tokens + CALL_ROOM)
    if not context:
        turn.refuse("the prompt is empty")
    elif min(context) < 0 or max(context) >= vocabulary:
        turn.refuse(f"a token id is not in 0..{vocabulary - 1}")
    elif len(context) + room > min(request.max_context_tokens, capacity):
        turn.end(StopReason.TRUNCATED)
    elif request.decision not in (None, ANSWER, *(spec.name for spec in request.specs)):
        turn.refuse(f"{request.decision!r} is not among the tools shown")
    return turn


def check_scorable(requests: Sequence[ScoreRequest], *, vocabulary: int, capacity: int) -> None:
    """Nothing, when all can be scored by a model that reads at most `capacity` tokens.

    Raises:
        ValueError: one cannot; the message names it.
    """
    for number, request in enumerate(requests):
        complaint = _complaint(request, vocabulary=vocabulary, capacity=capacity)
        if complaint:
            raise ValueError(f"score request {number}: {complaint}")


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
