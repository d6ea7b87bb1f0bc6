"""A problem as people write it, checked at the door (one JSON object a line; unknown fields are errors).

    {"prompt": "How many miles are 5 km?", "answer": "3.1", "checker": "number", "group": "5 km"}

Takes JSON values; gives frozen pydantic models. Which split it falls into, its identity and its tools are given to it
by `components.curation.own_problems`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StringConstraints

from components.schema.annotation import Name, Text


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class PhraseChecker(_Strict):
    """The answer, or an alias, must occur as whole words."""

    kind: Literal["phrase"]
    rivals: tuple[Text, ...] = Field(default=(), strict=False)
    """Wrong answers that must not stand beside the right one."""


class NumberChecker(_Strict):
    """A number within a tolerance."""

    kind: Literal["number"]
    value: float | None = None
    """The right number; null takes the one in `answer`."""
    relative_tolerance: float = Field(default=0.01, ge=0)


class OverlapChecker(_Strict):
    """Enough words of the reference, for answers that can be put in many ways."""

    kind: Literal["overlap"]
    minimum_f1: float = Field(default=0.5, gt=0, le=1)


class ExpressionChecker(_Strict):
    """An arithmetic expression of the given numbers with the target's value."""

    kind: Literal["expression"]
    numbers: tuple[int, ...] = Field(min_length=1, strict=False)
    target: int
    use_all: bool = False


def _named(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


OwnChecker = Annotated[
    Annotated[
        PhraseChecker | NumberChecker | OverlapChecker | ExpressionChecker,
        Discriminator("kind"),
    ],
    BeforeValidator(_named),
]
"""A checker's name, or an object with `kind` and its settings."""


class OwnBudget(_Strict):
    """Limits of one trajectory; what is left out has the usual value."""

    max_calls: int | None = Field(default=None, ge=0, le=16)
    max_answer_tokens: int | None = Field(default=None, ge=1, le=1024)
    max_argument_tokens: int | None = Field(default=None, ge=1, le=1024)
    max_context_tokens: int | None = Field(default=None, ge=64, le=32_768)


class OwnProblem(_Strict):
    """A prompt with the output that is wanted."""

    prompt: Text
    answer: Text
    """The key span: what the checker looks for and what the likelihood reward scores."""
    text: Text | None = None
    """A full answer that contains `answer` verbatim; null takes the answer itself."""
    aliases: tuple[Text, ...] = Field(default=(), strict=False)
    """Other spellings that are as good as `answer`."""
    checker: OwnChecker | None = None
    """null: `number` where the answer is a number, else `phrase`."""
    group: Name | None = None
    """Problems of one group never straddle splits; null makes each problem a group of its own."""
    slice: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")] | None = None
    """A further name under which metrics are reported."""
    budget: OwnBudget = OwnBudget()
