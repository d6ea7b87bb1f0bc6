"""What an annotator is shown. Takes nothing; gives the records. Reads no files and ranks nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from components.schema.identity import stable_hash
from components.schema.tool import ToolSpec
from components.schema.trajectory import ANSWER

Source = Literal["search", "rollouts", "feedback"]
"""Where the evidence is from: a searched tree, all decisions tried at the root, or a served answer that was judged."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One action and what came back."""

    decision: str
    """`answer` or a tool's name."""
    text: str
    """The turn as it was written."""
    arguments: Mapping[str, Any] | None
    """Of the call; None for answers and broken turns."""
    result: str | None
    """What the call returned; None where nothing was run."""
    failed: bool = False
    """Whether the tool refused or failed."""
    cost: float | None = None
    """Units of the price sheet; None where it was never run."""

    @property
    def broken(self) -> bool:
        """Whether it was to be a call and is none: nobody can be asked to do likewise."""
        return self.arguments is None and self.decision != ANSWER


@dataclass(frozen=True, slots=True)
class Alternative:
    """One first action with what was found out about it."""

    turn: Turn
    prior: float | None
    """P under the policy, which sums to 1 over the alternatives; None where it was not recorded."""
    q: float | None
    """Mean return after it; None if it was never tried."""
    visits: int | None
    """Simulations, or plays, that it was tried in."""
    then: tuple[Turn, ...] = ()
    """How it went on most often, up to the answer."""
    correct: bool | None = None
    """The checker's verdict on that answer; None where it was not judged."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a user of the served model said of an answer."""

    feedback_id: str
    response_id: str
    thumbs: Literal["up", "down"]
    correction: str | None
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Case:
    """A problem somebody could say something about."""

    prompt: str
    family: str
    source: Source
    tools: tuple[ToolSpec, ...]
    """Those that the problem offers."""
    max_calls: int
    known_answer: str | None
    """The reference; None where there is none."""
    alternatives: tuple[Alternative, ...]
    """What the model proposes first, then the others by Q. Empty for feedback without a searched problem."""
    feedback: tuple[Complaint, ...] = ()

    @property
    def case_id(self) -> str:
        """Identity is content: the same problem with other alternatives is another case."""
        actions = [[one.turn.decision, one.turn.text] for one in self.alternatives]
        return stable_hash([self.prompt, actions, [one.feedback_id for one in self.feedback]])

    @property
    def policy_is_known(self) -> bool:
        """Whether the first alternative is what the policy likes best, not merely what went best."""
        return bool(self.alternatives) and self.alternatives[0].prior is not None
