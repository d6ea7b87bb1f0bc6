"""What is to be solved. Takes nothing; gives `Problem` and its parts. Checks no answer: see `reward.checkers`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Split = Literal["train", "validation", "test"]
SPARSE: Mapping[str, bool] = {"sparse": True}
"""Metadata of a field that is written to a file only where it differs from its default."""
CheckerKind = Literal["phrase", "number", "overlap", "expression"]


@dataclass(frozen=True, slots=True)
class Reference:
    """The output we want."""

    text: str
    """A full answer, as a person would write it; contains `answer` verbatim."""
    answer: str
    """The key span inside `text`: what a checker looks for and what the likelihood reward scores."""
    aliases: tuple[str, ...] = ()
    """Other spellings that are as good as `answer`."""


@dataclass(frozen=True, slots=True)
class CheckerSpec:
    """Which checker judges an answer, with its settings."""

    kind: CheckerKind
    """phrase: an alias as whole words; number: within tolerance; overlap: unigram F1; expression: countdown and 24."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """number: value, relative_tolerance; overlap: minimum_f1; expression: numbers, target, use_all; phrase: rivals."""


@dataclass(frozen=True, slots=True)
class Nesting:
    """Limits of calls inside calls, and of sub-tasks inside sub-tasks."""

    depth: int = 2
    """Nested calls that may be open inside one another."""
    calls: int = 3
    """Calls that one nested call may make, further nested ones included; never more than its parent has left."""
    stack: int = 2
    """Plans that may be open inside one another."""
    width: int = 4
    """Sub-tasks of one plan."""
    dynamic: bool = True
    """False: a problem may be split only before anything else was called (static decomposition)."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one trajectory."""

    max_calls: int = 3
    """Calls of every kind, nested ones included."""
    max_answer_tokens: int = 32
    max_argument_tokens: int = 32
    max_context_tokens: int = 640
    nesting: Nesting = field(default=Nesting(), metadata=SPARSE)


@dataclass(frozen=True, slots=True)
class Problem:
    """A prompt with everything needed to solve and to judge it."""

    problem_id: str
    """`stable_hash` of prompt, reference answer and checker: identity is content."""
    prompt: str
    tool_names: tuple[str, ...]
    """Tools that may be called, in the order shown to the policy."""
    reference: Reference
    checker: CheckerSpec
    budget: Budget
    family: str
    """fact | number | two_hop | compute | fact_compute | chat | decoy | puzzle."""
    slices: tuple[str, ...]
    """Names under which metrics are reported: the family, and e.g. `fact_known` / `fact_unknown`."""
    group: str
    """Problems of one group never straddle splits (country, operands, puzzle numbers, chat prompt)."""
    split: Split
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the generator knew (country, attribute, operands, phrasing); for reports and tests; no policy sees it."""
    price: float | None = field(default=None, metadata=SPARSE)
    """lambda that the policy is told: what one unit of cost takes from one correct answer; None tells it nothing."""
