"""What a person entered on a case, as rows in the form that annotators write (`components/schema/annotation.py`).

Takes a case and the fields of the form; gives a row, to be checked at the door like anybody's. The id follows from case
and annotator, so that sending a form twice adds nothing. Checks no arguments and writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from components.annotation.case import Alternative, Case
from components.schema.identity import stable_hash
from components.schema.tool import ToolSpec

Fields = Mapping[str, str]
"""Name of a control to what was entered."""
Verdict = Literal["accept", "correct", "prefer", "no_tool"]
CONFIDENCES: Mapping[str, float] = {"slightly": 0.6, "clearly": 0.8, "surely": 0.95}
"""How sure a person is that one action is better, as a probability."""


class BadEntry(ValueError):  # noqa: N818 - reads as what it is
    """The form was not filled in so that it says something; the message names the control and what to do."""


def annotation_id(case: Case, annotator: str) -> str:
    """One annotation a person and case."""
    return f"page-{case.case_id}-{stable_hash(annotator, length=8)}"


def row_of(case: Case, verdict: Verdict, fields: Fields, *, annotator: str, created: str) -> dict[str, Any]:
    """The row that the form stands for; `created`: ISO 8601. Raises `BadEntry`."""
    content = {"accept": _accept, "correct": _correct, "prefer": _prefer, "no_tool": _no_tool}[verdict](case, fields)
    common = {"annotation_id": annotation_id(case, annotator), "prompt": case.prompt}
    answered = {"responses": [one.response_id for one in case.feedback]} if case.feedback else {}
    return {**common, "annotator": annotator, "created": created, **answered, **content}


def calls_made(alternative: Alternative) -> list[dict[str, Any]]:
    """The calls of an alternative and of how it went on, in order; what follows a broken turn is left out."""
    calls = []
    for turn in (alternative.turn, *alternative.then):
        if turn.arguments is None:
            break
        calls.append({"tool": turn.decision, "arguments": dict(turn.arguments)})
    return calls


def _accept(case: Case, fields: Fields) -> dict[str, Any]:
    if not case.alternatives:
        raise BadEntry("accept: the model's action is not on record here. Fix: write what it should have done")
    proposed = case.alternatives[0]
    if proposed.turn.broken:
        raise BadEntry("accept: the proposed call is broken. Fix: correct it")
    last = (proposed.turn, *proposed.then)[-1]
    answer = last.text if proposed.correct and last.arguments is None else None
    return _demonstration(calls_made(proposed), answer, case, fields)


def _no_tool(case: Case, fields: Fields) -> dict[str, Any]:
    return _demonstration([], _text(fields, "answer"), case, fields)


def _correct(case: Case, fields: Fields) -> dict[str, Any]:
    calls = list(_calls(case, fields))
    return _demonstration(calls, _text(fields, "answer"), case, fields)


def _demonstration(calls: list[dict[str, Any]], answer: str | None, case: Case, fields: Fields) -> dict[str, Any]:
    reference, key = _text(fields, "reference"), _text(fields, "key")
    if reference is None and key is not None:
        raise BadEntry("reference: is empty. Fix: write the sentence that contains the key words")
    if case.known_answer is None and reference is None:
        raise BadEntry(
            "reference: this question has no known answer yet. Fix: write the right answer, so that it can be learnt"
        )
    wanted = None if reference is None else {"text": reference, "answer": key or reference}
    return {"kind": "demonstration", "steps": calls, "answer": answer, "reference": wanted}


def _calls(case: Case, fields: Fields) -> Iterator[dict[str, Any]]:
    """The calls up to the first one that was left out."""
    specs = {spec.name: spec for spec in case.tools}
    for place in range(case.max_calls):
        name = fields.get(f"call{place}", "")
        if not name:
            return
        if name not in specs:
            raise BadEntry(
                f"call {place + 1}: there is no tool {name!r:.80} here. Fix: choose one of {', '.join(specs)}"
            )
        yield {"tool": name, "arguments": dict(_arguments(specs[name], fields, f"call{place}.{name}."))}


def _arguments(spec: ToolSpec, fields: Fields, prefix: str) -> Iterator[tuple[str, Any]]:
    """What was entered for the tool's parameters; optional ones that were left empty are left out."""
    required = set(spec.parameters.get("required", ()))
    for name, schema in spec.parameters.get("properties", {}).items():
        text = fields.get(f"{prefix}{name}", "").replace("\r\n", "\n")
        if text.strip() or name in required:
            yield name, text if schema.get("type") == "string" else _json(text)


def _prefer(case: Case, fields: Fields) -> dict[str, Any]:
    better, worse = (_chosen(case, fields, name) for name in ("better", "worse"))
    if better is worse:
        raise BadEntry("worse: is the same action as the better one. Fix: choose two different ones")
    confidence = CONFIDENCES.get(fields.get("confidence", "clearly"))
    if confidence is None:
        raise BadEntry(f"confidence: must be one of {', '.join(CONFIDENCES)}. Fix: choose one")
    sides = {"chosen": _action(better), "rejected": _action(worse)}
    return {"kind": "preference", "steps": [], **sides, "confidence": confidence}


def _chosen(case: Case, fields: Fields, name: str) -> Alternative:
    """The alternative of that number, from 1."""
    number = fields.get(name, "")
    if not number.isascii() or not number.isdigit() or not 1 <= int(number) <= len(case.alternatives):
        raise BadEntry(f"{name}: no action was chosen. Fix: choose one of 1 to {len(case.alternatives)}")
    chosen = case.alternatives[int(number) - 1]
    if chosen.turn.broken:
        raise BadEntry(
            f"{name}: action {number} is a broken call, which nothing can be learnt from. Fix: choose another"
        )
    return chosen


def _action(alternative: Alternative) -> dict[str, Any]:
    turn = alternative.turn
    if turn.arguments is None:
        return {"answer": turn.text}
    return {"tool": turn.decision, "arguments": dict(turn.arguments)}


def _text(fields: Fields, name: str) -> str | None:
    text = fields.get(name, "").replace("\r\n", "\n").strip()
    return text or None


def _json(text: str) -> Any:
    """What the text says as JSON; itself where it says nothing, for the checker to complain about."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
