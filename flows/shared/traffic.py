"""Which versions get traffic beside the champion: the canary and the shadow, in a file that the server follows.

Takes the project's paths; gives the present state, and writes a new one. Whether a version exists is checked by whoever
writes. Routes nothing.
"""

from __future__ import annotations

import json

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.records.atomic import write_json
from flows.shared.faults import UserFault
from flows.shared.paths import Paths


class Traffic(BaseModel):
    """What is asked of the server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    canary: str | None = None
    share: float = Field(default=0.0, ge=0, le=1)
    """Part of the champion's requests that the canary answers."""
    shadow: str | None = None
    stopped: str | None = None
    """Why the last canary was taken back; None when it was not."""


def read_traffic(paths: Paths) -> Traffic:
    """The present state; nothing beside the champion where none was written."""
    try:
        return Traffic.model_validate(json.loads(paths.traffic.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Traffic()
    except (ValueError, ValidationError) as error:
        raise UserFault(f"{paths.traffic.name} cannot be read: {' '.join(str(error).split())[:300]}") from None


def write_traffic(paths: Paths, traffic: Traffic) -> None:
    """Put a new state in place of the old one."""
    write_json(paths.traffic, traffic.model_dump())
