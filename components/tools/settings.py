"""Settings of the tools and their prices (sections `tools` and `prices` of params.yaml), validated.

Takes nothing; gives values. Opens nothing and prices nothing: see `components.tools.prices`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from components.tools.guard import host_of
from components.tools.own_settings import OwnToolSettings

Engine = Literal["natural", "strict"]
"""natural: any stemmed term may match; strict: every term must match as typed."""


class PythonLimits(BaseModel):
    """Hard limits of one python call; there is no way to switch them off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tier: Literal["monty", "bubblewrap"] = Field(default="monty", exclude_if=lambda value: value == "monty")
    """monty: a small Python of its own; bubblewrap: a whole CPython, only where it is proven when the tool is opened.

    No tier ever takes another's place. The default is left out of dumps: digests of older data stay valid.
    """
    seconds: float = Field(default=0.5, gt=0, le=30)
    """Run time after which the snippet is stopped."""
    memory_bytes: int = Field(default=32 * 2**20, ge=2**20, le=2**30)
    """Heap of the snippet."""
    recursion_depth: int = Field(default=200, ge=10, le=1000)
    """Nested calls."""
    output_bytes: int = Field(default=4_000, ge=100, le=1_000_000)
    """Printed output after which the snippet is stopped."""
    result_tokens: int = Field(default=32, ge=4, le=4096)
    """Budget of the text that the policy reads."""
    processes: int = Field(default=2, ge=1, le=64)
    """Sandbox workers kept."""


class CompositeSettings(BaseModel):
    """The composite's calls to itself and their limits; a problem that offers them carries the limits in its budget."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tools: tuple[Literal["delegate", "split", "give_up"], ...] = ()
    """Which of them every problem offers, after its other tools; none by default."""
    splitting: Literal["dynamic", "static"] = "dynamic"
    """dynamic: a sub-task may be split again from what was learnt; static: only once, before anything else."""
    max_calls: int = Field(default=8, ge=1, le=64)
    """Calls of one problem of every kind, nested ones included; takes the place of the problem's own limit."""
    nested_calls: int = Field(default=3, ge=1, le=64)
    """Calls inside one nested call, at most."""
    depth: int = Field(default=2, ge=0, le=8)
    """Nested calls open inside one another."""
    stack: int = Field(default=2, ge=0, le=8)
    """Splits open inside one another."""
    width: int = Field(default=4, ge=1, le=8)
    """Sub-tasks of one split."""
    max_argument_tokens: int = Field(default=64, ge=8, le=1024)
    """Tokens of one call's arguments, if the problem allows fewer: a list of sub-tasks is longer than a query."""
    max_context_tokens: int = Field(default=1024, ge=128)
    """Tokens that the policy may read at a state, if the problem allows fewer."""

    @field_validator("tools")
    @classmethod
    def _once(cls, tools: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(tools)) != len(tools):
            raise ValueError("a tool is listed twice")
        return tools


NO_COMPOSITE = CompositeSettings()


class ToolSettings(BaseModel):
    """Everything that can be set about the tools."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Engine = "strict"
    """The engine behind `search` at deployment and in training."""
    annotation_engine: Engine = "natural"
    """The engine that the annotators had."""
    k: int = Field(default=2, ge=1, le=20)
    """Passages shown per search."""
    result_tokens: int = Field(default=44, ge=8, le=4096)
    """Budget of one passage's line."""
    python: PythonLimits = PythonLimits()
    searxng_url: str | None = None
    """Address of a SearXNG-style JSON search; null uses the local index."""
    own: OwnToolSettings = OwnToolSettings()
    """Tools that you bring: typed functions, HTTP services, MCP servers."""
    private_hosts: tuple[str, ...] = ()
    """Hosts that may have addresses which are not public, such as localhost; every tool reaches its own host only."""
    timeouts: Mapping[str, float] = {"search": 10.0, "python": 10.0}
    """Seconds of wall time per call after which the call is given up, by tool; a tool not named here gets 10."""
    max_workers: int = Field(default=4, ge=1, le=256)
    """Calls that run at the same time."""
    cache_size: int = Field(default=50_000, ge=0)
    """Results remembered."""
    composite: CompositeSettings = Field(default=NO_COMPOSITE, exclude_if=lambda value: value == NO_COMPOSITE)
    """Calls of the composite to itself; left out of dumps when unused, so that digests of older data stay valid."""

    @field_validator("searxng_url")
    @classmethod
    def _only_http(cls, url: str | None) -> str | None:
        if url is not None:
            host_of(url)
        return url

    @field_validator("timeouts")
    @classmethod
    def _positive(cls, timeouts: Mapping[str, float]) -> Mapping[str, float]:
        bad = [name for name, seconds in timeouts.items() if not 0 < seconds <= 600]
        if bad:
            raise ValueError(f"seconds must be above 0 and at most 600: {', '.join(bad)}")
        return timeouts


class ToolPrice(BaseModel):
    """One tool's line on the price sheet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    money: float = Field(ge=0)
    """Currency units per call."""
    seconds: float = Field(ge=0)
    """p50 of a call; a call that times out is charged the same, in full."""


COMPOSITE_PRICES: Mapping[str, ToolPrice] = {
    "delegate": ToolPrice(money=0.0002, seconds=0.2),
    "split": ToolPrice(money=0.0, seconds=0.1),
    "give_up": ToolPrice(money=0.0, seconds=0.1),
}
"""Price of the composite's own calls where the sheet does not list them; what a nested call does inside is added.

A delegated call occupies the model like a python call occupies its sandbox (0.3 units): free, it would be a cheap way
to think (science.md 3). The other two are a turn of waiting (0.125 units)."""


class PriceSettings(BaseModel):
    """The price sheet as it is written in params.yaml.

    The defaults are those of a deployment with a paid search API and a hosted sandbox: a search costs 0.002 and its
    p50 is 0.4 s, a python call costs 0.0002 and its p50 is 0.2 s (round trip included; the local tools answer in a
    millisecond). A second of waiting is worth 0.005, that is 18 an hour. So a search is 0.002 + 0.005 * 0.4 =
    0.004, the unit, and a python call 0.0002 + 0.005 * 0.2 = 0.0012, that is 0.3 units.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tools: Mapping[str, ToolPrice] = {
        "search": ToolPrice(money=0.002, seconds=0.4),
        "python": ToolPrice(money=0.0002, seconds=0.2),
    }
    unlisted: ToolPrice = ToolPrice(money=0.002, seconds=0.4)
    """Price of a call to a tool that is not listed, or does not exist (see COMPOSITE_PRICES for three that do)."""
    money_per_second: float = Field(default=0.005, ge=0)
    """w: what a second of waiting is worth."""
    unit: float = Field(default=0.004, gt=0)
    """Money that makes one cost unit: one search."""
