"""The doors by which annotations come in over HTTP: JSON Lines, and Label Studio's export or webhook.

Takes the bytes of a request; gives what became of every row. Everything goes through the same intake as files do:
checked, whole or not at all, never twice. Knows no HTTP.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.records.intake import Added, Intake, add_files
from components.records.jsonl import dump_line
from components.records.label_studio import BadExport, parse_export
from components.schema.tool import ToolSpec

POSTED = "posted.jsonl"
"""What complaints call the rows that were posted."""


def add_lines(intake: Intake, lines: bytes, *, tools: Sequence[ToolSpec]) -> Added:
    """Add every good line."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / POSTED
        file.write_bytes(lines)
        return add_files(intake, [file], tools=tools)


def add_rows(intake: Intake, rows: Iterable[Mapping[str, Any]], *, tools: Sequence[ToolSpec]) -> Added:
    """Add every good row."""
    return add_lines(intake, "\n".join(map(dump_line, rows)).encode(), tools=tools)


def add_label_studio(intake: Intake, body: bytes, *, tools: Sequence[ToolSpec]) -> Added:
    """Add what an export, or a webhook on a new or changed annotation, says. Raises `BadExport`."""
    return add_rows(intake, parse_export(_as_export(body)), tools=tools)


def _as_export(body: bytes) -> str:
    """The body; of a webhook, its one task with its one annotation as an export of them."""
    try:
        text = body.decode("utf-8")
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadExport(f"body: is not JSON: {str(error)[:100]}. Fix: send Label Studio's own JSON") from None
    if not isinstance(value, dict):
        return text
    missing = [name for name in ("task", "annotation") if not isinstance(value.get(name), dict)]
    if missing:
        reason = "is missing. Fix: send the webhook ANNOTATION_CREATED or ANNOTATION_UPDATED with its payload"
        raise BadExport(f"{missing[0]}: {reason}")
    return json.dumps([{**value["task"], "annotations": [value["annotation"]]}])
