"""Annotation files, read so that no bad row loses a good one.

Takes a folder of `*.jsonl` files (or one file) and the specs of the tools that may be named. Gives the valid
annotations in the order of files and lines, and a `Reject` with file, line, field, reason and a fix for every other
row. Does not judge content (near-duplicates, leaks, wrong answers): that is curation's work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from components.records.atomic import write_lines
from components.records.jsonl import dump_line
from components.records.lines import LINE_LIMIT, RawLine, read_lines
from components.records.outside import Fault, RowFault, rejects_of, row_of, schema_faults
from components.records.quarantine import Reject
from components.schema.annotation import (
    ANNOTATION,
    AnnotatedReference,
    Annotation,
    Preference,
    annotation_json,
    calls_of,
)
from components.schema.arguments import check_arguments
from components.schema.tool import ToolSpec


@dataclass(frozen=True, slots=True)
class AnnotationBatch:
    """What was read."""

    annotations: tuple[Annotation, ...]
    rejects: tuple[Reject, ...]


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
            except RowFault as error:
                rejects.extend(rejects_of(path.name, line, error.faults))
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
    value = row_of(line, limit)
    try:
        annotation = ANNOTATION.validate_python(value)
    except ValidationError as error:
        raise RowFault(schema_faults(error)) from None
    faults = [*_call_faults(annotation, specs), *_reference_faults(annotation), *_choice_faults(annotation)]
    if faults:
        raise RowFault(faults)
    return annotation


def _claim_id(annotation_id: str, place: str, first_seen: dict[str, str]) -> None:
    earlier = first_seen.setdefault(annotation_id, place)
    if earlier != place:
        reason = f"{annotation_id!r:.80} was already used at {earlier}. Fix: give this row an id of its own"
        raise RowFault([Fault("annotation_id", reason)])


# --- what is wrong, in words ------------------------------------------------------------------------------------------


def _call_faults(annotation: Annotation, specs: dict[str, ToolSpec]) -> Iterator[Fault]:
    for path, call in calls_of(annotation):
        spec = specs.get(call.tool)
        if spec is None:
            known = ", ".join(specs) or "none"
            yield Fault(f"{path}.tool", f"there is no tool {call.tool!r:.80}. Fix: use one of {known}")
            continue
        for complaint in check_arguments(spec, call.arguments):
            field = f"{path}.arguments.{complaint.field}".rstrip(".")
            yield Fault(field, f"{complaint.reason}. Fix: see {spec.signature()}")
        for name, value in call.arguments.items():
            if isinstance(value, str) and not value.strip():
                yield Fault(f"{path}.arguments.{name}", "is empty. Fix: write the text, or leave the call out")


def _reference_faults(annotation: Annotation) -> Iterator[Fault]:
    reference: AnnotatedReference | None = None if isinstance(annotation, Preference) else annotation.reference
    if reference is not None and reference.answer not in reference.text:
        reason = (
            f"{reference.answer!r:.60} does not occur in reference.text. Fix: copy it from the text, letter by letter"
        )
        yield Fault("reference.answer", reason)


def _choice_faults(annotation: Annotation) -> Iterator[Fault]:
    if isinstance(annotation, Preference) and annotation.chosen == annotation.rejected:
        yield Fault("rejected", "is the same action as chosen. Fix: give two different actions")
