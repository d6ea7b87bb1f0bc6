"""One turn of a conversation, one tool call, one tool result. Does not parse or render text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from components.schema.cost import Cost

Role = Literal["user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the policy asked for."""

    name: str
    """Name of the tool in the toolbox."""
    arguments: Mapping[str, Any]
    """Arguments by name, already parsed from JSON; not yet validated against the tool's schema."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gave back; a failure is a result that the policy can read."""

    content: str
    """Text the policy reads, already cut to the tool's token budget."""
    is_error: bool
    """True when the tool refused, failed or timed out."""
    cost: Cost
    """Recorded cost of the call (a cache hit carries the cost of the live call)."""
    source_ids: tuple[str, ...] = ()
    """Ids of the passages shown, best first (search only)."""
    wall_seconds: float | None = None
    """Measured wall time of the live call; reported, never part of a reward."""
    refused: bool = False
    """True when the call was refused for safety (the sandbox denied it a file, say); the gate counts these."""
    cached: bool = field(default=False, compare=False)
    """True when the result was remembered from an equal call; reported, never part of a reward."""
    tool_version: str = ""
    """Version of the tool that answered; empty when no tool was reached."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn."""

    role: Role
    content: str
    token_ids: tuple[int, ...] | None = None
    """For assistant turns: exactly the tokens that were sampled or forced; never encoded again from `content`."""
