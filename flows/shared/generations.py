"""Generations of self-play: each searches with the model that the one before it made, and distils what it found.

The last generation is the stages `selfplay` and `distil`, which make the model `final`. Earlier ones are made from the
templates `earlier_selfplay` and `earlier_distil` of `dvc.yaml`, one stage of each for every entry of
`generations.earlier`, because DVC's templates can count entries but not numbers. Takes the parameters and the name of
a generation; gives where it starts and what it writes. Runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

FIRST = "reinforced"
"""Model from which the first generation starts."""
LAST = "final"
"""Model that the last generation makes."""
TAKEN = frozenset({"base", "clone", FIRST, LAST})


class GenerationSettings(BaseModel):
    """Which generations there are. Read by DVC as well, so that profiles cannot differ here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    earlier: Mapping[str, str] = {}
    """Generations before the last one, in order: the model each makes, and the model it starts from."""
    start: str = FIRST
    """The model from which the last one starts."""

    @model_validator(mode="after")
    def _is_a_chain(self) -> Self:
        made, starts = [FIRST, *self.earlier], [*self.earlier.values(), self.start]
        for name in self.earlier:
            if name in TAKEN or not name.replace("-", "").isalnum():
                raise ValueError(f"earlier: {name!r} cannot be the name of a generation")
        for expected, start in zip(made, starts, strict=True):
            if start != expected:
                raise ValueError(
                    f"every generation starts from the model of the one before: {expected!r}, not {start!r}"
                )
        return self


@dataclass(frozen=True, slots=True)
class Generation:
    """One round of self-play and distillation."""

    name: str | None
    """None for the last one."""
    start: str
    """Model that searches, and from which distillation starts."""

    @property
    def model(self) -> str:
        """Model that it makes."""
        return self.name or LAST


def stage_of(stage: str, arguments: Sequence[str]) -> tuple[str, str | None]:
    """Name of the stage that runs, and of its generation: `stage` itself is the last one's."""
    name = arguments[0] if arguments else None
    return (stage, None) if name is None else (f"earlier_{stage}@{name}", name)


def generation(settings: GenerationSettings, name: str | None) -> Generation:
    """The generation of that name; the last one for None."""
    return Generation(name, settings.start if name is None else settings.earlier[name])
