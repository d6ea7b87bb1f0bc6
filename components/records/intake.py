"""Annotations taken in: checked at the door, added whole or not at all, never twice.

Takes files of rows (or rows) and an `Intake`: the folder of annotations and a scratch folder on the same file system.
Gives what was added, what was known already and what was refused. Many processes may add at once, and any of them may
be killed at any moment: a batch becomes visible by one rename, under a lock that the kernel frees with its owner.
A file that somebody just drops into the folder counts as well. Does not version the folder and tells nobody.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from components.records.annotations import annotation_files, read_annotations
from components.records.atomic import write_lines
from components.records.jsonl import dump_line
from components.records.lines import read_lines
from components.records.quarantine import Reject, write_quarantine
from components.schema.annotation import ANNOTATION, Annotation, annotation_json
from components.schema.identity import stable_hash
from components.schema.tool import ToolSpec


@dataclass(frozen=True, slots=True)
class Intake:
    """Where annotations are kept."""

    folder: Path
    """Its `*.jsonl` files are the annotations; one file a batch."""
    scratch: Path
    """Lock, index, files being written, and what was refused; never read as annotations."""


@dataclass(frozen=True, slots=True)
class Added:
    """What became of the rows that were offered."""

    added: tuple[str, ...]
    """Ids of the new annotations."""
    known: int
    """Rows that were there already, under whatever id."""
    rejects: tuple[Reject, ...]
    """Rows that were refused, each with place and reason."""
    file: Path | None
    """The new file of annotations; None when nothing was new."""
    quarantine: Path | None
    """The file that keeps what was refused; None when nothing was."""


def content_hash(annotation: Annotation) -> str:
    """Identity of an annotation: all that it says but its id."""
    return stable_hash({k: v for k, v in annotation_json(annotation).items() if k != "annotation_id"}, length=32)


def add_files(intake: Intake, sources: Sequence[Path], *, tools: Sequence[ToolSpec]) -> Added:
    """Add every good row of the files (or folders); FileNotFoundError names a source that does not exist."""
    batches = [read_annotations(source, tools=tools) for source in sources]
    rejects = [reject for batch in batches for reject in batch.rejects]
    return add(intake, [row for batch in batches for row in batch.annotations], rejects=rejects)


def add(intake: Intake, annotations: Iterable[Annotation], *, rejects: Sequence[Reject] = ()) -> Added:
    """Add annotations that were checked; those in `rejects` go to quarantine with the ones refused here."""
    offered = {content_hash(annotation): annotation for annotation in reversed(list(annotations))}
    with _alone(intake):
        ids = _known(intake)
        fresh = {digest: row for digest, row in reversed(offered.items()) if digest not in ids}
        good, refused = _apart(fresh, set(ids.values()))
        file = _publish(intake, good)
    everything = (*rejects, *refused)
    return Added(
        added=tuple(row.annotation_id for row in good.values()),
        known=len(offered) - len(fresh),
        rejects=everything,
        file=file,
        quarantine=_quarantine(intake, everything),
    )


def count_rows(folder: Path) -> int:
    """Lines that are not blank in all annotation files."""
    return sum(1 for file in annotation_files(folder) for _ in read_lines(file)) if folder.is_dir() else 0


def _apart(fresh: Mapping[str, Annotation], taken: set[str]) -> tuple[dict[str, Annotation], list[Reject]]:
    """Rows with an id of their own, and those whose id names another annotation."""
    good: dict[str, Annotation] = {}
    refused = []
    for digest, row in fresh.items():
        if row.annotation_id in taken:
            reason = f"{row.annotation_id!r:.80} names another annotation. Fix: give this row an id of its own"
            text = dump_line(annotation_json(row))[:200]
            refused.append(Reject(file="offered", line=0, field="annotation_id", reason=reason, text=text))
            continue
        taken.add(row.annotation_id)
        good[digest] = row
    return good, refused


def _publish(intake: Intake, rows: Mapping[str, Annotation]) -> Path | None:
    if not rows:
        return None
    name = f"batch-{stable_hash(sorted(rows))}.jsonl"
    aside, target = intake.scratch / "incoming" / name, intake.folder / name
    write_lines(aside, (dump_line(annotation_json(row)) for row in rows.values()))
    intake.folder.mkdir(parents=True, exist_ok=True)
    aside.replace(target)
    _flush(intake.folder)
    return target


def _quarantine(intake: Intake, rejects: Sequence[Reject]) -> Path | None:
    if not rejects:
        return None
    key = stable_hash([[reject.file, reject.line, reject.field, reject.text] for reject in rejects])
    file = intake.scratch / "quarantine" / f"{key}.jsonl"
    write_quarantine(file, rejects)
    return file


@contextlib.contextmanager
def _alone(intake: Intake) -> Iterator[None]:
    """One writer at a time; what a killed one left half written is removed."""
    incoming = intake.scratch / "incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    with (intake.scratch / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in incoming.iterdir():
            left.unlink()
        yield


def _flush(folder: Path) -> None:
    """Make the rename survive a power cut; some file systems refuse to sync a folder, which is harmless."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- which annotations are there: read once a file, then remembered by its name, size and time ------------------------


@dataclass(frozen=True, slots=True)
class _File:
    """What the index keeps of one annotation file."""

    size: int
    changed: int
    """Nanoseconds, as the file system tells."""
    ids: Mapping[str, str]
    """Content hash to id."""


def _known(intake: Intake) -> dict[str, str]:
    """Content hash to id of every annotation in the folder."""
    if not intake.folder.is_dir():
        return {}
    index = _read_index(intake)
    now = {file.name: _entry(file, index.get(file.name)) for file in annotation_files(intake.folder)}
    if now != index:
        rows = {name: [entry.size, entry.changed, dict(entry.ids)] for name, entry in now.items()}
        aside = intake.scratch / "incoming" / "index.json"
        aside.write_text(json.dumps(rows), encoding="utf-8")
        aside.replace(intake.scratch / "index.json")
    return {digest: one for entry in now.values() for digest, one in entry.ids.items()}


def _entry(file: Path, before: _File | None) -> _File:
    stat = file.stat()
    entry = _File(stat.st_size, stat.st_mtime_ns, {})
    if before is not None and replace(before, ids={}) == entry:
        return before
    return replace(entry, ids=_ids(file))


def _ids(file: Path) -> dict[str, str]:
    """Of every row that has the form of an annotation, whatever it says: a known id stays taken."""
    found = {}
    for line in read_lines(file):
        with contextlib.suppress(ValidationError):
            row = ANNOTATION.validate_json(line.content)
            found[content_hash(row)] = row.annotation_id
    return found


def _read_index(intake: Intake) -> dict[str, _File]:
    try:
        rows: dict[str, Any] = json.loads((intake.scratch / "index.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return {name: _File(size, changed, ids) for name, (size, changed, ids) in rows.items()}
