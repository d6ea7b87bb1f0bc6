"""What annotators write, checked at the door (one JSON object a line; unknown fields are errors).

Three kinds, told apart by `kind`:
  demonstration  how a person would act on a prompt: the calls in order, then the answer;
  preference     which of two next actions is better, after the calls made so far;
  pair           a prompt and the output we want, without any action.
Takes JSON values; gives frozen pydantic models. An annotation names its problem by the exact text of the prompt. Tools
and their arguments are checked against the tool specs in `components.records.annotations`, not here.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StringConstraints, Tag, TypeAdapter

Text = Annotated[str, StringConstraints(strip_whitespace=False, min_length=1, max_length=100_000, pattern=r"\S")]
"""Text with at least one character that is not white space."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"\S")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class AnnotatedCall(_Strict):
    """A call with its arguments."""

    tool: Name
    arguments: dict[str, Any]
    """By name, as the tool's JSON schema asks."""


class AnnotatedAnswer(_Strict):
    """An answer instead of a call."""

    answer: Text


def _action_tag(value: Any) -> str:
    has_answer = "answer" in value if isinstance(value, dict) else isinstance(value, AnnotatedAnswer)
    return "answer-action" if has_answer else "call-action"


AnnotatedAction = Annotated[
    Annotated[AnnotatedCall, Tag("call-action")] | Annotated[AnnotatedAnswer, Tag("answer-action")],
    Discriminator(_action_tag),
]
"""A call, or an answer when there is a field `answer`."""


def _iso_text(value: Any) -> Any:
    if not isinstance(value, str | datetime):
        raise ValueError("must be a date and time as ISO 8601 text")
    return value


class AnnotatedReference(_Strict):
    """The output we want."""

    text: Text
    """A full answer; contains `answer` verbatim."""
    answer: Text
    """The key span inside `text`."""
    aliases: tuple[Text, ...] = Field(default=(), strict=False)
    """Other spellings that are as good."""


class _Base(_Strict):
    annotation_id: Name
    """Unique over all files."""
    prompt: Text
    """Exactly the prompt of the problem."""
    annotator: Name
    """Who wrote it; generated seed rows say so here."""
    created: Annotated[datetime, Field(strict=False), BeforeValidator(_iso_text)]
    """When, ISO 8601."""
    responses: tuple[Name, ...] = Field(default=(), strict=False)
    """Ids of the served answers that users complained of, when that is what the annotation answers."""


class Demonstration(_Base):
    """How a person would act."""

    kind: Literal["demonstration"]
    steps: tuple[AnnotatedAction, ...] = Field(strict=False)
    """Calls in order, and where a call split the task, the answers to its sub-tasks; empty means that no tool is
    needed. The question of a `delegate` is played as the demonstration with that prompt shows it."""
    answer: Text | None
    """null keeps the model's own words."""
    reference: AnnotatedReference | None = None


class Preference(_Base):
    """Which of two next actions is better."""

    kind: Literal["preference"]
    steps: tuple[AnnotatedCall, ...] = Field(default=(), strict=False)
    """Calls made before the choice."""
    chosen: AnnotatedAction
    rejected: AnnotatedAction
    confidence: float = Field(ge=0.5, le=1.0)
    """Probability that `chosen` is better."""


class Pair(_Base):
    """A prompt and the output we want, without any action."""

    kind: Literal["pair"]
    reference: AnnotatedReference


Annotation = Demonstration | Preference | Pair
ANNOTATION: TypeAdapter[Annotation] = TypeAdapter(Annotated[Annotation, Field(discriminator="kind")])


def annotation_json(annotation: Annotation) -> dict[str, Any]:
    """The annotation as the JSON object that annotators write."""
    value = annotation.model_dump(mode="json")
    return value if annotation.responses else {name: value[name] for name in value if name != "responses"}


def calls_of(annotation: Annotation) -> tuple[tuple[str, AnnotatedCall], ...]:
    """Every call in the annotation with the path of its field."""
    if isinstance(annotation, Pair):
        return ()
    steps: tuple[AnnotatedAction, ...] = annotation.steps
    calls = [(f"steps[{index}]", step) for index, step in enumerate(steps) if isinstance(step, AnnotatedCall)]
    if isinstance(annotation, Preference):
        choices = (("chosen", annotation.chosen), ("rejected", annotation.rejected))
        calls += [(name, choice) for name, choice in choices if isinstance(choice, AnnotatedCall)]
    return tuple(calls)
