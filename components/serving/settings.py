"""Settings of the model server: section `serve` of infra/qanat.yaml. Takes values; gives frozen, validated objects."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(_Strict):
    """What one request, and all of them together, may ask for."""

    body_bytes: int = Field(default=262_144, ge=1024)
    messages: int = Field(default=64, ge=1)
    tools: int = Field(default=32, ge=0)
    """Tools of the client."""
    tool_bytes: int = Field(default=16_384, ge=64)
    """Of one tool's JSON schema."""
    answer_tokens: int = Field(default=256, ge=1, le=8192)
    """Most tokens of an answer; `max_completion_tokens` of a request can only lower it."""
    argument_tokens: int = Field(default=128, ge=8, le=8192)
    """Most tokens of one call's arguments."""
    context_tokens: int = Field(default=1024, ge=64)
    """Most tokens that are read and written for an answer, tools' results included; the model may allow fewer."""
    calls: int = Field(default=3, ge=0, le=64)
    """Most calls that the server makes for one answer."""
    concurrent: int = Field(default=32, ge=1, le=1024)
    """Answers that are written side by side."""
    waiting: int = Field(default=64, ge=0)
    """Requests that may wait for that; one more is told to come back later (429)."""
    seconds: Seconds = 60.0
    """Time that an answer may take."""


class GoldenPrompt(_Strict):
    """A question that every version must be able to answer before it is served."""

    prompt: str = Field(min_length=1)
    tool: str | None = None
    """The tool that must be the first decision; None: any decision will do."""
    contains: str | None = None
    """What the answer must contain; None: any answer will do."""
    tokens: int = Field(default=32, ge=1, le=8192)
    """Most tokens of its answer, so that a version that rambles does not hold up its own promotion."""


class CanaryRules(_Strict):
    """When a canary is taken back. Each rule compares the canary's answers with the champion's of the same time."""

    minimum: int = Field(default=20, ge=1)
    """Answers of the canary before which nothing is concluded."""
    errors_margin: Share = 0.01
    """A rise of the share of failed answers that is let through."""
    invalid_margin: Share = 0.03
    """The same of answers with a turn that was neither a valid call nor an answer."""
    slow_factor: float = Field(default=1.25, ge=1, allow_inf_nan=False)
    """Answers that take longer than the champion's p95 times this are slow; 1 in 20 may be."""
    cost_margin: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    """Units of the price sheet that an answer may cost more, on average."""
    deviations: float = Field(default=3.0, ge=1, le=10)
    """Standard errors by which a rule must be broken: much, because it is looked at after every answer."""


class ServeSettings(_Strict):
    """All of section `serve`."""

    host: str = "127.0.0.1"
    """Address that is listened on; any other than this machine's own asks for keys."""
    allowed_hosts: tuple[str, ...] = ()
    """Names by which clients may call the server beside this machine's own; `*` lets every name through."""
    keys_file: str | None = None
    """File with API keys, one a line, from the project's root; with keys, requests must carry one."""
    keys_variable: str | None = None
    """Environment variable with API keys, separated by commas or blanks."""
    limits: Limits = Limits()
    poll_seconds: Seconds = 0.5
    """How often the registry is asked what is to be served."""
    retry_seconds: Seconds = 15.0
    """Pause before a version that could not be served is tried again; it doubles with every failure."""
    drain_seconds: Seconds = 30.0
    """Time that answers under way have when the server is told to stop."""
    spare: int = Field(default=1, ge=0)
    """Versions kept in memory beside those that are wanted: the way back is then immediate."""
    golden: tuple[GoldenPrompt, ...] = (
        GoldenPrompt(prompt="What is the capital of Chad?"),
        GoldenPrompt(prompt="2+2?"),
    )
    canary: CanaryRules = CanaryRules()
    shadow_concurrent: int = Field(default=4, ge=1)
    """Answers that the shadow may be writing; what comes on top is left out."""
    traces: Share = 0.02
    """Share of the answers that the tracker shows as traces, with every call and its cost."""
    log_texts: bool = False
    """Whether questions and answers are kept in the log of responses and in traces; ids and costs always are."""
    scrub: str | None = None
    """`module:function` that takes personal data out of a text before it is kept; null: the one that is built in."""

    @model_validator(mode="after")
    def _closed_to_strangers(self) -> ServeSettings:
        if self.host not in LOOPBACK and self.keys_file is None and self.keys_variable is None:
            raise ValueError(
                f"host {self.host!r} can be reached by others: name keys_file or keys_variable, or use 127.0.0.1"
            )
        return self
