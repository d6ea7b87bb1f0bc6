"""Annotation files, read so that no bad row loses a good one.

Takes a folder of `*.jsonl` files (or one file) and the specs of the tools that may be named. Gives the valid
annotations in the order of files and lines, and a `Reject` with file, line, field, reason and a fix for every other
row. Does not judge content (near-duplicates, leaks, wrong answers): that is curation's work.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from components.records.atomic import write_lines
from components.records.codec import describe
from components.records.jsonl import dump_line
from components.records.lines import LINE_LIMIT, RawLine, read_lines
from components.records.quarantine import SHOWN, Reject
from components.schema.annotation import (
    ANNOTATION,
    AnnotatedReference,
    Annotation,
    Preference,
    annotation_json,
    calls_of,
)
from components.schema.arguments import check_arguments, why_unwritable
from components.schema.tool import ToolSpec


@dataclass(frozen=True, slots=True)
class AnnotationBatch:
    """What was read."""

    annotations: tuple[Annotation, ...]
    rejects: tuple[Reject, ...]


@dataclass(frozen=True, slots=True)
class _Fault:
    field: str
    reason: str


class _RowFault(ValueError):  # noqa: N818 - not an error of ours
    """A row cannot be used."""

    def __init__(self, faults: Sequence[_Fault]) -> None:
        super().__init__("; ".join(f"{fault.field}: {fault.reason}" for fault in faults))
        self.faults = tuple(faults)


def write_annotations(path: Path | str, annotations: Iterable[Annotation]) -> None:
    """Put the annotations at `path`, one a line."""
    write_lines(path, (dump_line(annotation_json(annotation)) for annotation in annotations))


def read_annotations(source: Path | str, *, tools: Sequence[ToolSpec], limit: int = LINE_LIMIT) -> AnnotationBatch:
    """Every row of the file, or of the folder's `*.jsonl` files by name, as an annotation or as rejects."""
    specs = {spec.name: spec for spec in tools}
    annotations: list[Annotation] = []
    rejects: list[Reject] = []
    first_seen: dict[str, str] = {}
    for path in annotation_files(Path(source)):
        for line in read_lines(path, limit=limit):
            try:
                annotation = _read_row(line, specs, limit)
                _claim_id(annotation.annotation_id, f"{path.name}:{line.number}", first_seen)
            except _RowFault as error:
                rejects.extend(_rejects(path.name, line, error.faults))
            else:
                annotations.append(annotation)
    return AnnotationBatch(annotations=tuple(annotations), rejects=tuple(rejects))


def annotation_files(source: Path) -> list[Path]:
    """The files to read; FileNotFoundError names a source that does not exist."""
    if source.is_dir():
        return sorted(path for path in source.glob("*.jsonl") if path.is_file())
    if not source.is_file():
        raise FileNotFoundError(f"no annotation file or folder at {source}")
    return [source]


def _read_row(line: RawLine, specs: dict[str, ToolSpec], limit: int) -> Annotation:
    if line.is_too_long:
        raise _RowFault([_Fault("", f"the line is longer than {limit} bytes. Fix: split it into rows")])
    value = _parse(line.content)
    try:
        annotation = ANNOTATION.validate_python(value)
    except ValidationError as error:
        raise _RowFault(_schema_faults(error)) from None
    faults = [*_call_faults(annotation, specs), *_reference_faults(annotation), *_choice_faults(annotation)]
    if faults:
        raise _RowFault(faults)
    return annotation


def _parse(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except UnicodeDecodeError as error:
        raise _RowFault(
            [_Fault("", f"is not valid UTF-8 at byte {error.start}. Fix: save the file as UTF-8")]
        ) from None
    except json.JSONDecodeError as error:
        raise _RowFault(
            [_Fault("", f"is not valid JSON at column {error.colno}: {error.msg}. Fix: one object a line")]
        ) from None
    except (ValueError, RecursionError) as error:
        raise _RowFault(
            [_Fault("", f"is JSON that cannot be read: {str(error)[:100]}. Fix: write plain values")]
        ) from None
    if not isinstance(value, dict):
        raise _RowFault([_Fault("", f"must be an object, is {describe(value)}. Fix: one object a line")])
    unwritable = why_unwritable(value)
    if unwritable is not None:
        raise _RowFault([_Fault("", f"{unwritable}. Fix: write plain values and whole characters")])
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        repeated = sorted({key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1})
        raise ValueError(f"the key {repeated[0]!r} occurs twice in one object")
    return result


def _claim_id(annotation_id: str, place: str, first_seen: dict[str, str]) -> None:
    earlier = first_seen.setdefault(annotation_id, place)
    if earlier != place:
        reason = f"{annotation_id!r:.80} was already used at {earlier}. Fix: give this row an id of its own"
        raise _RowFault([_Fault("annotation_id", reason)])


def _rejects(file: str, line: RawLine, faults: Iterable[_Fault]) -> Iterator[Reject]:
    text = line.content[: 4 * SHOWN].decode("utf-8", "replace")[:SHOWN]
    for fault in faults:
        yield Reject(file=file, line=line.number, field=fault.field, reason=fault.reason, text=text)


# --- what is wrong, in words ------------------------------------------------------------------------------------------


def _call_faults(annotation: Annotation, specs: dict[str, ToolSpec]) -> Iterator[_Fault]:
    for path, call in calls_of(annotation):
        spec = specs.get(call.tool)
        if spec is None:
            known = ", ".join(specs) or "none"
            yield _Fault(f"{path}.tool", f"there is no tool {call.tool!r:.80}. Fix: use one of {known}")
            continue
        for complaint in check_arguments(spec, call.arguments):
            field = f"{path}.arguments.{complaint.field}".rstrip(".")
            yield _Fault(field, f"{complaint.reason}. Fix: see {spec.signature()}")
        for name, value in call.arguments.items():
            if isinstance(value, str) and not value.strip():
                yield _Fault(f"{path}.arguments.{name}", "is empty. Fix: write the text, or leave the call out")


def _reference_faults(annotation: Annotation) -> Iterator[_Fault]:
    reference: AnnotatedReference | None = None if isinstance(annotation, Preference) else annotation.reference
    if reference is not None and reference.answer not in reference.text:
        reason = (
            f"{reference.answer!r:.60} does not occur in reference.text. Fix: copy it from the text, letter by letter"
        )
        yield _Fault("reference.answer", reason)


def _choice_faults(annotation: Annotation) -> Iterator[_Fault]:
    if isinstance(annotation, Preference) and annotation.chosen == annotation.rejected:
        yield _Fault("rejected", "is the same action as chosen. Fix: give two different actions")


def _schema_faults(error: ValidationError) -> list[_Fault]:
    """Pydantic's complaints in our words, one a field."""
    faults = {fault.field: fault for fault in map(_schema_fault, error.errors(include_url=False))}
    return list(faults.values())


def _schema_fault(detail: Any) -> _Fault:
    field, kind, context = _field(detail["loc"]), detail["type"], detail.get("ctx", {})
    given = describe(detail["input"])
    match kind:
        case "missing":
            return _Fault(field, "is missing. Fix: add it")
        case "extra_forbidden":
            return _Fault(field, "is not a field of this kind of annotation. Fix: remove or rename it")
        case "union_tag_invalid" | "union_tag_not_found":
            return _Fault("kind", f"must be one of {context.get('expected_tags', KINDS)}. Fix: set it")
        case "string_pattern_mismatch" | "string_too_short":
            return _Fault(field, "is empty. Fix: write the text")
        case "string_type":
            return _Fault(field, f"must be text, is {given}. Fix: write the text in quotes")
        case "tuple_type":
            return _Fault(field, f"must be a list, is {given}. Fix: put it in square brackets")
        case "model_type" | "dict_type" | "model_attributes_type":
            return _Fault(field, f"must be an object, is {given}. Fix: put it in braces")
        case "float_type":
            return _Fault(field, f"must be a number, is {given}. Fix: write it without quotes")
        case "value_error" | "datetime_from_date_parsing" | "datetime_parsing":
            return _Fault(field, f"must be a date and time, is {given}. Fix: write it like 2026-01-31T12:00:00Z")
        case "greater_than_equal" | "less_than_equal":
            return _Fault(field, f"is out of range: {detail['msg'].lower()}. Fix: choose a value inside")
    return _Fault(field, f"{detail['msg'][0].lower()}{detail['msg'][1:]}, is {given}. Fix: see the annotation schema")


KINDS = "'demonstration', 'preference', 'pair'"
_NOT_IN_PATH = {"demonstration", "preference", "pair", "call-action", "answer-action"}


def _field(location: Sequence[str | int]) -> str:
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in _NOT_IN_PATH:
            path += f".{part}" if path else part
    return path
