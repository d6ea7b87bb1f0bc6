"""What is done with annotation files: explained row by row, added, generated where there are none, tracked by DVC.

Takes files and the project's paths; gives lines for a person. What a good row is, is the records' business.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from components.curation.corpus import make_corpus
from components.curation.seed_annotations import seed_problems, write_seed
from components.curation.seed_composite import make_composite_seed
from components.curation.settings import CorpusSettings
from components.records.annotations import read_annotations, write_annotations
from components.records.atomic import write_lines
from components.records.intake import Added, Intake, add_files
from components.records.jsonl import dump_line
from components.records.label_studio import BadExport, parse_export
from components.records.quarantine import format_rejects
from flows.shared.faults import UserFault
from flows.shared.hints import hint
from flows.shared.params import load_params
from flows.shared.paths import Paths
from flows.shared.tools import specs_of_tools
from flows.shared.tracking import track

SEED = 0
"""The seed set is the same whatever params.yaml says: it stands for work that people did once."""


def check(paths: Paths, file: Path) -> tuple[list[str], bool]:
    """One line a bad row and a summary; and whether all rows are good."""
    batch = read_annotations(file, tools=specs_of_tools(paths, load_params(paths)))
    summary = f"{len(batch.annotations)} good rows, {len(batch.rejects)} bad"
    return [*format_rejects(batch.rejects), summary], not batch.rejects


def add(paths: Paths, files: Sequence[Path]) -> tuple[list[str], bool]:
    """Take in every good row of `.jsonl` files and Label Studio exports (`.json`); lines for a person, and whether all
    rows were good. Others see the new rows whole or not at all.
    """
    intake, tools = Intake(paths.annotations, paths.intake), specs_of_tools(paths, load_params(paths))
    with tempfile.TemporaryDirectory() as scratch:
        added = add_files(intake, [_as_rows(file, Path(scratch)) for file in files], tools=tools)
    lines = [
        *format_rejects(added.rejects),
        f"{len(added.added)} added, {added.known} known, {_refused(added)} refused",
    ]
    if added.quarantine is not None:
        lines.append(f"refused rows are kept in {added.quarantine.relative_to(paths.root)}")
    return [*lines, *follow_up(paths, added)], not added.rejects


def _as_rows(file: Path, scratch: Path) -> Path:
    """The file itself, or its rows where it is an export of Label Studio."""
    if file.suffix != ".json":
        return file
    try:
        rows = parse_export(file.read_text(encoding="utf-8"))
    except (BadExport, UnicodeDecodeError) as error:
        raise UserFault(f"{file}: {error}") from None
    converted = scratch / f"{file.name}l"
    write_lines(converted, map(dump_line, rows))
    return converted


def _refused(added: Added) -> int:
    return len({(reject.file, reject.line, reject.text) for reject in added.rejects})


def follow_up(paths: Paths, added: Added) -> list[str]:
    """Version what is there and tell the server: both may fail without losing a row."""
    if added.file is None:
        return []
    lines = hint(paths, rows=len(added.added), file=added.file.name)
    try:
        track(paths)
    except UserFault as error:  # a run reads the annotations right now
        lines.append(f"not versioned yet ({error}): the next add or run does so")
    return lines


def seed(paths: Paths) -> list[Path]:
    """Generate the seed set from the installed Factbook, with demonstrations of nested calls and sub-tasks where the
    parameters offer them; gives the files."""
    facts = make_corpus(CorpusSettings(), seed=SEED).facts
    problems, calls = seed_problems(facts), load_params(paths).tools.composite.tools
    paths.annotations.mkdir(parents=True, exist_ok=True)
    write_seed(paths.seed_annotations, facts, problems, seed=SEED)
    if not calls:
        return [paths.seed_annotations]
    write_annotations(paths.composite_seed, tuple(make_composite_seed(facts, problems, calls=calls, seed=SEED)))
    return [paths.seed_annotations, paths.composite_seed]


def ensure(paths: Paths) -> list[str]:
    """Annotations on disk and tracked by DVC; gives a line for everything that had to be done."""
    done = []
    if not any(paths.annotations.glob("*.jsonl")) or _composite_missing(paths):
        made = [str(file.relative_to(paths.root)) for file in seed(paths)]
        done.append(f"missing of the seed annotations: generated {', '.join(made)}")
    if track(paths):
        done.append("data/annotations changed: tracked anew in data/annotations.dvc")
    return done


def _composite_missing(paths: Paths) -> bool:
    """Whether the seed set is in use and says nothing of the nested calls and sub-tasks that are on offer."""
    if not paths.seed_annotations.is_file() or paths.composite_seed.is_file():
        return False
    return bool(load_params(paths).tools.composite.tools)
