"""`mlflow/registry.yaml`, validated. Takes the project's paths; gives frozen settings. Does not talk to MLflow."""

from __future__ import annotations

from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.shared.params import BadParams
from flows.shared.paths import Paths


class Aliases(BaseModel):
    """Names that point to versions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    champion: str = "champion"
    previous: str = "previous"
    challenger: str = "challenger"


class RegistrySettings(BaseModel):
    """How models are registered and promoted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = "qanat"
    """Name of the registered model."""
    experiment: str = "qanat"
    """MLflow experiment that holds the runs of stages."""
    aliases: Aliases = Aliases()
    payload: str = "data/models/final"
    """Folder that is registered, from the project's root."""
    lineage_run: str = "data/reports/runs/distil.json"
    """File that names the run which made the payload."""
    challenger_policy: str = "final"
    """Name of the payload's rows in the evaluation."""
    first_champion_policy: str = "clone"
    """Rows that the first model of all is gated against."""
    student_policy: str = "student"
    """Rows of the student of matched compute (rejection sampling); where an evaluation has them, a challenger must beat
    them."""
    served_within: float | None = Field(default=None, gt=0)
    """Seconds within which a server must report a promoted version, or the promotion is taken back; null: no server."""
    required_tags: tuple[str, ...] = ()
    """A version without these is never promoted."""
    signing_key: str | None = None
    """File with a private key (`ssh-keygen -t ed25519`), from the project's root: what is registered here is signed."""
    trusted_keys: tuple[str, ...] = ()
    """Public keys, lines as in `.pub` files. With any, what none of them signed is neither promoted nor served."""
    approval: Literal["none", "required"] = "none"
    """`required`: what the gate would promote waits for `qanat approve`."""
    gate: dict[str, Any] = {}
    """Thresholds; validated by the evaluation house (`Params.gate`)."""


def load_registry_settings(paths: Paths) -> RegistrySettings:
    """The settings of this project; the defaults where there is no file."""
    if not paths.registry.is_file():
        return RegistrySettings()
    try:
        return RegistrySettings.model_validate(yaml.safe_load(paths.registry.read_text(encoding="utf-8")) or {})
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        raise BadParams(f"mlflow/registry.yaml: {key}: {fault['msg']}") from None
    except yaml.YAMLError as error:
        raise BadParams(f"mlflow/registry.yaml: not readable as YAML: {' '.join(str(error).split())}") from None
