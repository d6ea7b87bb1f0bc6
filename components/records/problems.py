"""Problems as JSON Lines and as a Hugging Face dataset.

Takes and gives `Problem`. The two free-form mappings (`facts` and the checker's `settings`) are stored as JSON text, so
that every row has the same columns and `datasets.load_dataset("json", data_files=...)` reads it with a stable schema.
Does not make or check problems.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.records.atomic import write_lines
from components.records.codec import BadField, from_json, to_json
from components.records.jsonl import BadRecord, dump_line, read_rows
from components.schema.problem import Problem

if TYPE_CHECKING:
    from datasets import Dataset, Features

_FREE_FORM = (("facts",), ("checker", "settings"))


def write_problems(path: Path | str, problems: Iterable[Problem]) -> None:
    """Put the problems at `path`, one a line, all or nothing."""
    write_lines(path, (dump_line(problem_row(problem)) for problem in problems))


def read_problems(path: Path | str) -> tuple[Problem, ...]:
    """Every problem of the file, in order; raises `BadRecord` with file, line and field."""
    return tuple(_problem(row, file=str(path), line=line) for line, row in read_rows(path))


def as_dataset(path: Path | str) -> Dataset:
    """The same rows as a `datasets.Dataset` with fixed features (free-form mappings stay JSON text)."""
    from datasets import Dataset  # two seconds of import that most readers of problems do not need

    rows = [problem_row(problem) for problem in read_problems(path)]
    return Dataset.from_list(rows, features=features())


def from_dataset(dataset: Dataset) -> tuple[Problem, ...]:
    """The problems of a dataset that `as_dataset` or `load_dataset("json", ...)` gave."""
    return tuple(_problem(row, file="dataset", line=index) for index, row in enumerate(dataset, start=1))


def problem_row(problem: Problem) -> dict[str, Any]:
    """The problem as one row: plain columns, free-form mappings as JSON text."""
    row = to_json(problem)
    for *parents, name in _FREE_FORM:
        holder = _inside(row, parents)
        holder[name] = json.dumps(holder[name], ensure_ascii=False, sort_keys=True, allow_nan=False)
    return row


def features() -> Features:
    """Columns and types of a problem row."""
    from datasets import Features, List, Value

    text, number, flag = Value("string"), Value("int64"), Value("bool")
    return Features(
        {
            "problem_id": text,
            "prompt": text,
            "tool_names": List(text),
            "reference": {"text": text, "answer": text, "aliases": List(text)},
            "checker": {"kind": text, "settings": text},
            "budget": {
                "max_calls": number,
                "max_answer_tokens": number,
                "max_argument_tokens": number,
                "max_context_tokens": number,
                "nesting": {"depth": number, "calls": number, "stack": number, "width": number, "dynamic": flag},
            },
            "family": text,
            "slices": List(text),
            "group": text,
            "split": text,
            "facts": text,
        }
    )


def _problem(row: Mapping[str, Any], *, file: str, line: int) -> Problem:
    try:
        return from_json(Problem, _opened(row))
    except BadField as error:
        raise BadRecord(file, line, error.field, error.reason) from None


def _opened(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its JSON text turned back into mappings; rows of another shape pass and fail in the codec."""
    result = {key: dict(value) if isinstance(value, Mapping) else value for key, value in row.items()}
    for *parents, name in _FREE_FORM:
        holder = _inside(result, parents)
        if isinstance(holder, dict) and isinstance(holder.get(name), str):
            holder[name] = _parse(holder[name], ".".join((*parents, name)))
    budget = result.get("budget")
    if isinstance(budget, dict) and budget.get("nesting", ...) is None:
        result["budget"] = {key: value for key, value in budget.items() if key != "nesting"}  # a data set's empty cell
    return result


def _parse(text: str, field: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise BadField(field, f"must be JSON text: {error.msg}") from None


def _inside(row: dict[str, Any], parents: list[str]) -> Any:
    holder: Any = row
    for parent in parents:
        holder = holder.get(parent) if isinstance(holder, dict) else None
    return holder
