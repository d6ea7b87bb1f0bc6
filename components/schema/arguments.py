"""Arguments of a call against the tool's JSON schema, with complaints that a person can act on.

Takes a `ToolSpec` and an arguments object; gives complaints. Does not repair or convert arguments.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator, ValidationError  # type: ignore[import-untyped]

from components.schema.tool import ToolSpec

_TYPES = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong with the arguments."""

    field: str
    """Path inside the arguments, e.g. `query`; empty for the object itself."""
    reason: str


def check_arguments(spec: ToolSpec, arguments: Mapping[str, Any]) -> tuple[Complaint, ...]:
    """Everything wrong with the arguments of a call to `spec`, in a stable order; empty when they are fine."""
    unwritable = why_unwritable(arguments)
    if unwritable is not None:
        return (Complaint("", unwritable),)
    validator = _validator(json.dumps(spec.parameters, sort_keys=True))
    complaints = [found for error in validator.iter_errors(dict(arguments)) for found in _complaints(spec, error)]
    return tuple(sorted(complaints, key=lambda complaint: (complaint.field, complaint.reason)))


def why_unwritable(value: Any) -> str | None:
    """Why the JSON value cannot be written to a file again; None for every ordinary value."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False, default=dict).encode("utf-8")
    except UnicodeEncodeError:  # JSON's escapes can smuggle in half a character
        return "has half a surrogate pair (\\uD800-\\uDFFF)"
    except RecursionError:
        return "is nested too deeply"
    except ValueError:
        return "has a number that is infinite or too long"
    return None


@lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    return Draft202012Validator(json.loads(schema))


def _complaints(spec: ToolSpec, error: ValidationError) -> list[Complaint]:
    field = _path(error)
    if error.validator == "type":
        return [Complaint(field, f"must be {_wanted(error.validator_value)}, is {json_type(error.instance)}")]
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return [Complaint(_join(field, name), "is missing") for name in missing]
    if error.validator == "additionalProperties" and error.validator_value is False:
        extra = [name for name in error.instance if name not in error.schema.get("properties", {})]
        return [Complaint(_join(field, name), f"is not an argument of {spec.signature()}") for name in extra]
    return [Complaint(field, str(error.message)[:200])]


def json_type(value: Any) -> str:
    """The kind of a JSON value in words."""
    if value is None:
        return "null"
    kinds: tuple[tuple[Any, str], ...] = (
        (bool, "true or false"),
        (int, "number"),
        (float, "number"),
        (str, "text"),
        (Mapping, "object"),
    )
    return next((words for kind, words in kinds if isinstance(value, kind)), "list")


def _wanted(types: str | list[str]) -> str:
    names = [types] if isinstance(types, str) else types
    return " or ".join(_TYPES.get(name, name) for name in names)


def _path(error: ValidationError) -> str:
    path = ""
    for part in error.absolute_path:
        path = f"{path}[{part}]" if isinstance(part, int) else _join(path, str(part))
    return path


def _join(parent: str, name: str) -> str:
    return f"{parent}.{name}" if parent else name
