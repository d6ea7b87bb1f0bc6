"""Label Studio's JSON export, read as annotations.

Takes the export (a list of tasks, each with `data` and `annotations`) and gives rows in the form that annotators write
(`components/schema/annotation.py`), to be checked like anybody's. What a labelling configuration must be named:

    data.prompt                                 the prompt
    textarea `answer`                           the answer; without it the model keeps its own words
    textarea `reference`, textarea `key`        the output we want and the key span in it; without calls a pair
    textarea `tool:NAME`                        arguments of a call as JSON, in the order they were written
    choices `no_tool` (any value)               no tool is needed: a demonstration without calls
    textarea `chosen`, `rejected`               a preference: a call as {"tool", "arguments"}, or the text of an answer

Skipped (cancelled) work is left out. Does not check rows and does not write files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from components.schema.identity import stable_hash


class BadExport(ValueError):  # noqa: N818 - reads as what it is
    """The file is not an export of Label Studio; the message names the place."""


class _Loose(BaseModel):
    # the export carries dozens of fields of Label Studio's own, more with each release
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Result(_Loose):
    from_name: str
    type: str
    value: dict[str, Any]


class _Work(_Loose):
    completed_by: int | str | dict[str, Any] | None = None
    created_at: str
    was_cancelled: bool = False
    result: tuple[_Result, ...] = ()


class _Data(_Loose):
    prompt: str


class _Task(_Loose):
    id: int | str
    data: _Data
    annotations: tuple[_Work, ...] = Field(default=())


_EXPORT = TypeAdapter(tuple[_Task, ...])


@dataclass(frozen=True, slots=True)
class _Fields:
    """What one annotator entered: name of the control to the texts."""

    texts: tuple[tuple[str, str], ...]
    choices: frozenset[str]

    def first(self, name: str) -> str | None:
        return next((text for one, text in self.texts if one == name), None)


def parse_export(text: str) -> tuple[dict[str, Any], ...]:
    """One row an annotator and task; `BadExport` names task and field of a file that has another form."""
    try:
        tasks = _EXPORT.validate_json(text)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in fault["loc"]) or "file"
        raise BadExport(f"{place}: {fault['msg']}. Fix: export as JSON (not JSON-MIN) from Label Studio") from None
    return tuple(_rows(tasks))


def _rows(tasks: Iterable[_Task]) -> Iterator[dict[str, Any]]:
    for task in tasks:
        for work in task.annotations:
            if not work.was_cancelled:
                yield _row(task, work)


def _row(task: _Task, work: _Work) -> dict[str, Any]:
    fields = _fields(work.result)
    row = {
        **_content(fields),
        "prompt": task.data.prompt,
        "annotator": f"label-studio/{_person(work.completed_by)}",
        "created": work.created_at,
    }
    return {**row, "annotation_id": f"ls-{task.id}-{stable_hash(row, length=12)}"}


def _fields(results: Iterable[_Result]) -> _Fields:
    texts, choices = [], set()
    for result in results:
        if result.type == "choices":
            choices.add(result.from_name)
            continue
        given = result.value.get("text", ())
        texts += [(result.from_name, text) for text in ([given] if isinstance(given, str) else given)]
    return _Fields(tuple(texts), frozenset(choices))


def _content(fields: _Fields) -> Mapping[str, Any]:
    chosen, rejected = fields.first("chosen"), fields.first("rejected")
    calls = [_call(name.removeprefix("tool:"), text) for name, text in fields.texts if name.startswith("tool:")]
    if chosen is not None or rejected is not None:
        sides = {"chosen": _action(chosen), "rejected": _action(rejected)}
        return {"kind": "preference", "steps": calls, **sides, "confidence": 1.0}
    wanted, key = fields.first("reference"), fields.first("key")
    reference = None if wanted is None else {"text": wanted, "answer": wanted if key is None else key}
    if reference is not None and not calls and "no_tool" not in fields.choices:
        return {"kind": "pair", "reference": reference}
    answer = fields.first("answer")
    return {"kind": "demonstration", "steps": calls, "answer": answer, "reference": reference}


def _call(tool: str, arguments: str) -> dict[str, Any]:
    return {"tool": tool, "arguments": _json(arguments)}


def _action(text: str | None) -> Any:
    """A call where the text is one as JSON, else an answer; None stays, for the checker to complain about."""
    value = None if text is None else _json(text)
    return value if text is None or isinstance(value, dict) else {"answer": text}


def _json(text: str) -> Any:
    """What the text says as JSON; itself where it says nothing, for the checker to complain about."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _person(who: int | str | Mapping[str, Any] | None) -> str:
    if isinstance(who, Mapping):
        return str(who.get("email") or who.get("id") or "unknown")
    return "unknown" if who is None else str(who)
