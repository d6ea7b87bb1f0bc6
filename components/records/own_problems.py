"""Problems that people bring, read so that no bad row loses a good one.

Takes a source: a file of JSON Lines, a folder that `datasets` can read (saved by `save_to_disk`, or of data files), or
the id of a dataset on a hub (`name`, or `name@revision`). Gives the valid rows in order, and a `Reject` with place,
field, reason and a fix for every other one. A dataset's columns have the names of the fields; its empty cells are
fields that were left out, and all its splits are read. Makes no `Problem`: see `components.curation.own_problems`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from components.records.lines import LINE_LIMIT, RawLine, read_lines
from components.records.outside import Fault, RowFault, rejects_of, row_of, schema_faults
from components.records.quarantine import Reject
from components.schema.own_problem import OwnProblem


class BadSource(ValueError):  # noqa: N818 - the name that flows catch
    """A source that cannot be read at all; the message names it."""


@dataclass(frozen=True, slots=True)
class OwnProblemBatch:
    """What was read."""

    problems: tuple[OwnProblem, ...]
    rejects: tuple[Reject, ...]


def read_own_problems(sources: Sequence[str | Path], *, limit: int = LINE_LIMIT) -> OwnProblemBatch:
    """Every row of all sources, as a problem or as rejects; a prompt may be asked once.

    Raises:
        BadSource: there is no such file, folder or dataset.
    """
    problems: list[OwnProblem] = []
    rejects: list[Reject] = []
    first_seen: dict[str, str] = {}
    for source in sources:
        for line in _lines(source, limit):
            place = f"{_name(source)}:{line.number}"
            try:
                problem = _problem(line, limit)
                _claim_prompt(problem.prompt, place, first_seen)
            except RowFault as error:
                rejects.extend(rejects_of(_name(source), line, error.faults))
            else:
                problems.append(problem)
    return OwnProblemBatch(tuple(problems), tuple(rejects))


def _name(source: str | Path) -> str:
    return Path(source).name if Path(source).exists() else str(source)


def _lines(source: str | Path, limit: int) -> Iterable[RawLine]:
    path = Path(source)
    return read_lines(path, limit=limit) if path.is_file() else _rows_of_dataset(source)


def _problem(line: RawLine, limit: int) -> OwnProblem:
    row = row_of(line, limit)
    try:
        problem = OwnProblem.model_validate(row)
    except ValidationError as error:
        raise RowFault(schema_faults(error)) from None
    if problem.text is not None and problem.answer not in problem.text:
        reason = f"{problem.answer!r:.60} does not occur in text. Fix: copy it from the text, letter by letter"
        raise RowFault([Fault("answer", reason)])
    return problem


def _claim_prompt(prompt: str, place: str, first_seen: dict[str, str]) -> None:
    earlier = first_seen.setdefault(prompt, place)
    if earlier != place:
        raise RowFault([Fault("prompt", f"is asked at {earlier} already. Fix: remove one of the two")])


# --- datasets ---------------------------------------------------------------------------------------------------------


def _rows_of_dataset(source: str | Path) -> Iterator[RawLine]:
    """The dataset's rows as lines of JSON, numbered over all splits; empty cells left out."""
    number = 0
    for split in _splits(source):
        for row in split:
            number += 1
            text = json.dumps(_filled(row), ensure_ascii=False, default=str)
            yield RawLine(number, text.encode("utf-8", "replace"), is_too_long=False)


def _splits(source: str | Path) -> list[Any]:
    # seconds of import that most readers of problems do not need
    from datasets import Dataset, load_dataset, load_from_disk

    path = Path(source)
    try:
        if path.is_dir() and ((path / "state.json").is_file() or (path / "dataset_dict.json").is_file()):
            loaded = load_from_disk(str(path))
        elif path.is_dir():
            loaded = load_dataset(str(path))
        else:
            name, _, revision = str(source).partition("@")
            loaded = load_dataset(name, revision=revision or None)
    except Exception as error:  # the library's own errors, those of the hub and those of the network
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise BadSource(f"{source}: no such file, and no dataset that can be read: {reason}") from error
    return [loaded] if isinstance(loaded, Dataset) else list(loaded.values())


def _filled(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled(inner) for key, inner in value.items() if inner is not None}
    return [_filled(inner) for inner in value] if isinstance(value, list) else value
