"""States, actions and finished trajectories. Takes nothing; gives the records. Does not step or render anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from components.schema.cost import NO_COST, Cost
from components.schema.message import Message, ToolCall, ToolResult
from components.schema.problem import SPARSE, Problem

ANSWER = "answer"
"""Name of the decision to answer directly; every other decision is a tool's name."""


class StopReason(StrEnum):
    """Why a trajectory ended."""

    ANSWERED = "answered"
    NO_ANSWER = "no_answer"
    """The answer turn was empty."""
    TRUNCATED = "truncated"
    """An answer or argument reached its token limit before it ended."""
    MALFORMED = "malformed"
    """The turn was not a tool call and not an answer (broken JSON, unknown tool, wrong arguments)."""
    OUT_OF_BUDGET = "out_of_budget"
    """Another call was wanted after the last allowed one."""
    GAVE_UP = "gave_up"
    """The policy gave the whole problem up."""
    REFUSED = "refused"
    """The turn could not be written at all (empty prompt, unknown token ids, a grammar that nothing satisfies, logits
    that are not numbers); its text says why."""
    CANCELLED = "cancelled"
    """Nobody wanted the turn any more."""


@dataclass(frozen=True, slots=True)
class Action:
    """One whole assistant turn, with the tokens that were sampled."""

    message: Message
    """Role assistant; `message.token_ids` are the tokens of this turn."""
    decision: str
    """`ANSWER` or the name of the tool whose opening was written."""
    written: tuple[bool, ...]
    """Per token of the turn: True where the policy chose it freely; False where it was forced (opening, grammar)."""
    logprobs: tuple[float, ...] | None
    """Per token, natural log under the sampling policy; None for people and for replayed text."""
    call: ToolCall | None = None
    """The parsed call; None for answers and for malformed turns."""
    stop: StopReason | None = None
    """MALFORMED or TRUNCATED when the turn itself was unusable; None otherwise."""
    decision_probs: Mapping[str, float] | None = None
    """P(decision) over answer and every tool at this state, if it was computed."""
    draft: Message | None = field(default=None, metadata=SPARSE)
    """An answer that was written first and left for this call."""

    @property
    def tokens_written(self) -> int:
        """Tokens of the turn, and of the draft that was left for it: what it cost to write."""
        left = () if self.draft is None else self.draft.token_ids
        return len(self.message.token_ids or ()) + len(left or ())


@dataclass(frozen=True, slots=True)
class Transition:
    """An action and what came of it."""

    action: Action
    results: tuple[ToolResult, ...]
    """What was replied: one result a call, or what follows the answer to a sub-task; empty for the last turn."""
    cost: Cost
    """Cost of this action: tool calls (nested included) and tokens."""
    reward: float | None = None
    """Reward of this action under the reward settings of the run; None when not scored. They add up to the total."""
    nested: tuple[Trajectory, ...] = field(default=(), metadata=SPARSE)
    """What the composite did inside itself for this action: one trajectory a delegated call; its cost is in `cost`."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the frozen scorer made of the reference at one state of a trajectory."""

    responses: int
    """Tool responses it was shown, oldest first; 0 at the root."""
    mean_logprob: float
    """Mean clipped log-probability of the reference's answer span."""
    rivals: tuple[float, ...] = ()
    """The same of wrong answers put in its place."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a reward needs beside the trajectory's own acts, recorded so that scoring again asks no model."""

    readings: tuple[Reading, ...]
    """In the order of `responses`; only the states that the reward settings of the run asked for."""
    preference: float | None = None
    """Verdict of annotated pairs on the actions taken, -1 to 1; None when no pair speaks of them."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trajectory ended."""

    stop_reason: StopReason
    answer: str | None
    success: bool | None
    """Checker's verdict; None when it could not be judged."""
    cost: Cost
    reward_parts: Mapping[str, float | None] | None = None
    """Named, unweighted reward parts, each None when it was not scored; None when nothing was."""
    evidence: Evidence | None = None
    """What the likelihood and preference parts were computed from; None when nothing was read."""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A finished record; people and policies alike."""

    trajectory_id: str
    problem_id: str
    policy_id: str
    """`human` for a demonstration, else the digest or name of the weights."""
    seed: int
    transitions: tuple[Transition, ...]
    outcome: Outcome
    forced: tuple[str, ...] = ()
    """Decisions that were forced from the start (all-actions branches); empty for free rollouts."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A task that was split and is not finished."""

    tasks: tuple[str, ...]
    """The sub-tasks in their order; all of them have to be done (AND)."""
    results: tuple[str, ...] = ()
    """Answers to the first of them; the next one is worked on."""


@dataclass(frozen=True, slots=True)
class State:
    """Everything the policy may know at a decision."""

    problem: Problem
    messages: tuple[Message, ...]
    """The turns so far, the user's prompt first."""
    stack: tuple[Plan, ...] = ()
    """The task stack: open plans, the innermost last; empty while the problem itself is worked on."""
    spent: Cost = NO_COST
    done: bool = False
    calls: tuple[tuple[ToolCall, ToolResult], ...] = field(default=())
    """Calls made so far with their results, oldest first."""

    @property
    def is_root(self) -> bool:
        """Whether nothing was called yet."""
        return not self.calls and all(message.role != "tool" for message in self.messages)

    @property
    def calls_left(self) -> int:
        """Calls that may still be made; those made inside nested calls are used up."""
        used = sum(max(1, result.cost.calls) for _, result in self.calls)
        return self.problem.budget.max_calls - used
