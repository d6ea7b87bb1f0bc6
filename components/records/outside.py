"""Rows that people write, read so that a bad one is explained and loses no good one.

Takes a line's bytes, or a row that was read elsewhere; gives a JSON object, or `RowFault`: what is wrong in which field
and how to mend it. Knows JSON and pydantic's complaints; what a good row is, is the business of `records.annotations`
and `records.own_problems`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from components.records.codec import describe
from components.records.lines import RawLine
from components.records.quarantine import SHOWN, Reject
from components.schema.arguments import why_unwritable


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a row."""

    field: str
    """Dotted path; empty when the whole row is meant."""
    reason: str
    """What is wrong, and what to do about it after `Fix: `."""


class RowFault(ValueError):  # noqa: N818 - not an error of ours
    """A row cannot be used."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{fault.field}: {fault.reason}" for fault in faults))
        self.faults = tuple(faults)


def row_of(line: RawLine, limit: int) -> dict[str, Any]:
    """The JSON object on the line; `limit`: bytes that a line may have."""
    if line.is_too_long:
        raise RowFault([Fault("", f"the line is longer than {limit} bytes. Fix: split it into rows")])
    return _parse(line.content)


def _parse(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except UnicodeDecodeError as error:
        raise RowFault([Fault("", f"is not valid UTF-8 at byte {error.start}. Fix: save the file as UTF-8")]) from None
    except json.JSONDecodeError as error:
        raise RowFault(
            [Fault("", f"is not valid JSON at column {error.colno}: {error.msg}. Fix: one object a line")]
        ) from None
    except (ValueError, RecursionError) as error:
        raise RowFault(
            [Fault("", f"is JSON that cannot be read: {str(error)[:100]}. Fix: write plain values")]
        ) from None
    if not isinstance(value, dict):
        raise RowFault([Fault("", f"must be an object, is {describe(value)}. Fix: one object a line")])
    unwritable = why_unwritable(value)
    if unwritable is not None:
        raise RowFault([Fault("", f"{unwritable}. Fix: write plain values and whole characters")])
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        repeated = sorted({key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1})
        raise ValueError(f"the key {repeated[0]!r} occurs twice in one object")
    return result


def rejects_of(file: str, line: RawLine, faults: Iterable[Fault]) -> Iterator[Reject]:
    """The faults with their place and the beginning of the row."""
    text = line.content[: 4 * SHOWN].decode("utf-8", "replace")[:SHOWN]
    for fault in faults:
        yield Reject(file=file, line=line.number, field=fault.field, reason=fault.reason, text=text)


def schema_faults(error: ValidationError) -> list[Fault]:
    """Pydantic's complaints in our words, one a field."""
    faults = {fault.field: fault for fault in map(_schema_fault, error.errors(include_url=False))}
    return list(faults.values())


def _schema_fault(detail: Any) -> Fault:
    field, kind, context = _field(detail["loc"]), detail["type"], detail.get("ctx", {})
    given = describe(detail["input"])
    match kind:
        case "missing":
            return Fault(field, "is missing. Fix: add it")
        case "extra_forbidden":
            return Fault(field, "is not a field of this kind of row. Fix: remove or rename it")
        case "union_tag_invalid" | "union_tag_not_found":
            place = f"{field}.kind".removeprefix(".")
            return Fault(place, f"must be one of {context.get('expected_tags', KINDS)}. Fix: set it")
        case "string_pattern_mismatch" | "string_too_short":
            return Fault(field, "is empty. Fix: write the text")
        case "string_type":
            return Fault(field, f"must be text, is {given}. Fix: write the text in quotes")
        case "tuple_type":
            return Fault(field, f"must be a list, is {given}. Fix: put it in square brackets")
        case "model_type" | "dict_type" | "model_attributes_type":
            return Fault(field, f"must be an object, is {given}. Fix: put it in braces")
        case "float_type":
            return Fault(field, f"must be a number, is {given}. Fix: write it without quotes")
        case "value_error" | "datetime_from_date_parsing" | "datetime_parsing":
            return Fault(field, f"must be a date and time, is {given}. Fix: write it like 2026-01-31T12:00:00Z")
        case "greater_than_equal" | "less_than_equal":
            return Fault(field, f"is out of range: {detail['msg'].lower()}. Fix: choose a value inside")
    return Fault(field, f"{detail['msg'][0].lower()}{detail['msg'][1:]}, is {given}. Fix: see its schema")


KINDS = "'demonstration', 'preference', 'pair'"
_NOT_IN_PATH = {"demonstration", "preference", "pair", "call-action", "answer-action", "checker-kind"}


def _field(location: Sequence[str | int]) -> str:
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in _NOT_IN_PATH:
            path += f".{part}" if path else part
    return path
