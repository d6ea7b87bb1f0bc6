"""What clients send, validated at the door: the part of OpenAI's chat completions that is meant here, and feedback.

Takes JSON; gives frozen objects. Unknown keys are errors, and so are options that would silently do nothing: only their
neutral value is let through. Does not know which tools or versions exist.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, field_validator

Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
Text = Annotated[str, Field(max_length=200_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TextPart(_Strict):
    """A piece of a message."""

    type: Literal["text"]
    text: Text


Content = Text | tuple[TextPart, ...]


def plain(content: Content | None) -> str:
    """The text of a message."""
    if content is None:
        return ""
    return content if isinstance(content, str) else "".join(part.text for part in content)


class CalledFunction(_Strict):
    """What was called; the arguments are JSON in a text."""

    name: Name
    arguments: Text


class CallMade(_Strict):
    """A call that the assistant asked the client to make."""

    id: Annotated[str, Field(min_length=1, max_length=200)]
    type: Literal["function"] = "function"
    function: CalledFunction


class InstructionMessage(_Strict):
    """What the operator says."""

    role: Literal["system", "developer"]
    content: Content
    name: Name | None = None


class UserMessage(_Strict):
    """What the user says."""

    role: Literal["user"]
    content: Content
    name: Name | None = None


class AssistantMessage(_Strict):
    """What the assistant said before; other keys that it was given with are let through and not read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    role: Literal["assistant"]
    content: Content | None = None
    tool_calls: tuple[CallMade, ...] | None = None


class ToolMessage(_Strict):
    """What a tool of the client gave."""

    role: Literal["tool"]
    tool_call_id: Annotated[str, Field(min_length=1, max_length=200)]
    content: Content


ChatMessage = Annotated[InstructionMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")]


class Function(_Strict):
    """A tool of the client."""

    name: Name
    description: Annotated[str, Field(max_length=4096)] = ""
    parameters: dict[str, Any] | None = None
    """JSON schema of its arguments; None: it has none."""
    strict: StrictBool | None = None
    """Arguments always obey the schema here."""


class ClientTool(_Strict):
    """A tool that the client runs."""

    type: Literal["function"]
    function: Function


class NamedFunction(_Strict):
    """A tool by name."""

    name: Name


class NamedChoice(_Strict):
    """The tool that must be called first."""

    type: Literal["function"]
    function: NamedFunction


class StreamOptions(_Strict):
    """How an answer is streamed."""

    include_usage: StrictBool = False
    include_obfuscation: StrictBool | None = None


class TextFormat(_Strict):
    """The only form of answers."""

    type: Literal["text"]


class ChatRequest(_Strict):
    """`POST /v1/chat/completions`."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    """`qanat` (the champion, or the canary for some), `qanat@challenger`, or `qanat@12` for a version."""
    messages: Annotated[tuple[ChatMessage, ...], Field(min_length=1)]
    tools: tuple[ClientTool, ...] | None = None
    """Tools that the client runs itself; those of the server are there anyway."""
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | None = None
    server_tools: tuple[Name, ...] | None = None
    """Which of the server's tools may be called; null: all of them."""
    price: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] | None = None
    """What a unit of cost is worth, against 1 for a right answer; null: as the model was trained."""
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    """Of the texts, 0 by default; decisions are always the most probable ones."""
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    user: Annotated[str, Field(max_length=512)] | None = None
    """Who asks: always sent to the same version while a canary runs."""
    safety_identifier: Annotated[str, Field(max_length=512)] | None = None
    metadata: dict[str, str] | None = None
    store: StrictBool | None = None
    parallel_tool_calls: StrictBool | None = None
    """One call is made at a time in any case."""
    # options whose neutral value clients are wont to send
    n: Literal[1] | None = None
    top_p: Literal[1] | None = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    logprobs: Literal[False] | None = None
    response_format: TextFormat | None = None

    @field_validator("top_p", "n", "frequency_penalty", "presence_penalty", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        """1.0 is 1."""
        return int(value) if isinstance(value, float) and value.is_integer() else value

    @property
    def who(self) -> str | None:
        """Who asks."""
        return self.user or self.safety_identifier


class FeedbackRequest(_Strict):
    """`POST /v1/feedback`."""

    response_id: Annotated[str, Field(min_length=1, max_length=200)]
    thumbs: Literal["up", "down"]
    correction: Annotated[str, Field(min_length=1, max_length=20_000)] | None = None
    """What the answer should have been."""
