"""`infra/qanat.yaml`, validated: ports, the trigger on annotations, their page, the server, notifications, disk, gc.

Takes the project's paths; gives frozen settings, the defaults where there is no file. Does not start anything.
"""

from __future__ import annotations

from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, ValidationError, model_validator

from components.serving.settings import ServeSettings
from flows.shared.params import BadParams
from flows.shared.paths import Paths

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Occasion = Literal["run-failed", "approval-waiting", "promoted", "rolled-back", "alarm"]
"""What a person may be told of."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Ports(_Strict):
    """Where pages and APIs listen, on 127.0.0.1."""

    prefect: Port = 4200
    mlflow: Port = 5000
    annotation: Port = 4300
    serve: Port = 8000
    """The model server (section `serve` says on which address)."""


class WatchSettings(_Strict):
    """When new annotations start a retrain."""

    quiet_seconds: Seconds = 120.0
    """No annotation may have come for that long: somebody is still at work."""
    minimum: int = Field(default=20, ge=1)
    """New annotations that are worth a retrain."""
    longest_wait_seconds: Seconds = 86_400.0
    """After that long a retrain starts, however few annotations are new and however busy the annotators."""
    poll_seconds: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """How often the folder is looked at."""
    attempts: int = Field(default=3, ge=1)
    """Retrains for the same annotations when one was interrupted (crash, reboot); one that failed is not repeated."""


class AnnotationSettings(_Strict):
    """How annotators share the queue of the annotation page."""

    claim_seconds: float = Field(default=900.0, gt=0, allow_inf_nan=False)
    """A case that somebody opened is shown to nobody else for so long."""
    doubled: float = Field(default=0.1, ge=0, le=1)
    """Share of cases that two people are to annotate, so that their agreement is known."""


class Hook(_Strict):
    """Who is told, and how: a command that reads the notice as JSON, or an address that it is posted to."""

    command: tuple[str, ...] = ()
    url: HttpUrl | None = None
    occasions: tuple[Occasion, ...] = ()
    """Empty: all."""

    @model_validator(mode="after")
    def _one_way(self) -> Hook:
        if bool(self.command) == (self.url is not None):
            raise ValueError("give either command or url")
        return self


class Retention(_Strict):
    """What `qanat gc` keeps whatever else."""

    workspaces: int = Field(default=3, ge=0)
    """The newest so many."""
    checkpoint_days: float = Field(default=14.0, ge=0)
    """Checkpoints of interrupted stages at the desk."""


class Operations(_Strict):
    """All of `infra/qanat.yaml`."""

    ports: Ports = Ports()
    watch: WatchSettings = WatchSettings()
    annotation: AnnotationSettings = AnnotationSettings()
    notify: tuple[Hook, ...] = ()
    free_gigabytes: float = Field(default=2.0, ge=0, allow_inf_nan=False)
    """A stage does not start with less room on the disk."""
    retention: Retention = Retention()
    serve: ServeSettings = ServeSettings()
    """The model server (components/serving/settings.py explains every key)."""


def load_operations(paths: Paths) -> Operations:
    """The settings of this project; those of the desk also in a workspace, whose store is a link to the desk's."""
    file = Paths(paths.store.resolve().parent).operations
    if not file.is_file():
        return Operations()
    try:
        return Operations.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")) or {})
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise BadParams("\n".join(f"infra/qanat.yaml: {fault}" for fault in faults)) from None
    except yaml.YAMLError as error:
        raise BadParams(f"infra/qanat.yaml: not readable as YAML: {' '.join(str(error).split())}") from None
