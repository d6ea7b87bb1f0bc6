"""Whether a JSON schema can describe a tool's arguments here. Takes a schema; gives a fault in words, or None.

Arguments are checked against it and written under a grammar made of it, so what either cannot take is refused when the
tool is opened, not in the middle of a training run. It may point inside itself only: a `$ref` to another address would
be fetched. Checks no arguments.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator, SchemaError  # type: ignore[import-untyped]
from llguidance import LLMatcher

from components.schema.arguments import why_unwritable


def fault_of_schema(parameters: Mapping[str, Any]) -> str | None:
    """What is wrong with the schema of an arguments object; None for a usable one."""
    unwritable = why_unwritable(parameters)
    if unwritable is not None:
        return f"the schema {unwritable}"
    if parameters.get("type") != "object":
        return "the schema must have type: object"
    outside = next((target for target in _references(parameters) if not target.startswith("#")), None)
    if outside is not None:
        return f"the schema points outside itself: {outside!r:.60}"
    try:
        Draft202012Validator.check_schema(dict(parameters))
    except SchemaError as error:
        return f"the schema is not valid: {str(error.message)[:120]}"
    complaint = str(LLMatcher.validate_grammar(LLMatcher.grammar_from_json_schema(json.dumps(parameters))))
    return f"the schema cannot be used as a grammar: {complaint.splitlines()[0][:120]}" if complaint else None


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key in ("$ref", "$dynamicRef", "$recursiveRef") and isinstance(inner, str):
                yield inner
            yield from _references(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _references(inner)
