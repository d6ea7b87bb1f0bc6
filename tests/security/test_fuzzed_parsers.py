"""Whatever stands in a file, an answer or a model's turn: parsers give a value or the fault that they document."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from doubles import make_problem
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mcp_types import Tool as ServerTool
from pydantic import ValidationError

from components.records.annotations import read_annotations
from components.records.manifest import BadModelFolder, check_safetensors, verify_manifest
from components.records.own_problems import read_own_problems
from components.reward.checkers import check
from components.schema.arguments import check_arguments
from components.schema.message import ToolCall
from components.schema.problem import CheckerSpec
from components.schema.tool import ToolSpec
from components.tools.function_tool import BadTool
from components.tools.grammar import CALL_END, CALL_START, parse_turn, render_call
from components.tools.guard import host_of, is_public
from components.tools.guarded_http import HttpFault
from components.tools.http_tool import _read
from components.tools.mcp_tool import _spec, safe_name
from components.tools.own_schema import fault_of_schema
from components.tools.own_settings import HttpToolSettings, McpServerSettings
from components.tools.spec import KNOWN_SPECS
from flows.shared.params import PROFILES, BadParams, check_params
from flows.shared.paths import Paths

FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SLOW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TEXT = st.text(st.characters(), max_size=60)
KEYS = st.sampled_from(
    ["name", "arguments", "query", "code", "type", "properties", "required", "prompt", "reference", "answer", "url"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | TEXT, inner, max_size=4),
    max_leaves=12,
)
ROWS = st.dictionaries(
    st.sampled_from(
        ["kind", "annotation_id", "prompt", "reference", "calls", "chosen", "rejected", "answer", "checker", "budget"]
    ),
    JSON,
)
SCHEMAS = st.dictionaries(
    st.sampled_from(["type", "properties", "required", "$ref", "enum", "items", "anyOf", "pattern", "$defs", "not"]),
    st.sampled_from(["object", "string", "#/$defs/a", "http://x/", "(a+"]) | JSON,
)
TURNS = st.lists(
    st.sampled_from([CALL_START, CALL_END, '{"name": "search", "arguments": {"query": "x"}}', "{", "}", '"', "\\"])
    | TEXT,
    max_size=8,
).map("".join)


@FUZZ
@given(TURNS)
def test_any_turn_is_a_call_on_offer_an_answer_or_an_error(text: str) -> None:
    turn = parse_turn(text, KNOWN_SPECS)
    assert sum(part is not None for part in (turn.call, turn.answer, turn.error)) == 1
    if turn.call is not None:
        assert parse_turn(render_call(turn.call), KNOWN_SPECS).call == turn.call


@FUZZ
@given(JSON)
def test_any_json_in_a_call_is_parsed_or_told(value: Any) -> None:
    turn = parse_turn(f"{CALL_START}{json.dumps(value)}{CALL_END}", KNOWN_SPECS)
    assert turn.answer is None
    assert turn.error is not None or turn.call is not None


@FUZZ
@given(SCHEMAS, st.dictionaries(KEYS | TEXT, JSON, max_size=4))
def test_any_schema_is_refused_or_arguments_can_be_checked_against_it(schema: dict[str, Any], given: Any) -> None:
    if fault_of_schema(schema) is None:
        for complaint in check_arguments(ToolSpec("t", "d", schema), given):
            assert complaint.reason


@SLOW
@given(st.lists(ROWS.map(json.dumps) | TEXT | JSON.map(json.dumps), max_size=4), st.binary(max_size=20))
def test_every_row_of_annotations_and_problems_is_read_or_rejected_with_its_place(rows: list[str], tail: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.jsonl"
        file.write_bytes("\n".join(rows).encode("utf-8", "surrogatepass") + b"\n" + tail)
        batch = read_annotations(file, tools=KNOWN_SPECS)
        assert all(reject.line > 0 and reject.reason for reject in batch.rejects)
        problems = read_own_problems([file])
        assert all(reject.line > 0 and reject.reason for reject in problems.rejects)


@SLOW
@given(
    st.binary(max_size=80)
    | st.dictionaries(
        st.sampled_from(["profile", "seed", "base", "tools", "clone", "prices", "curate", "policy", "x"]), JSON
    ).map(lambda values: yaml.safe_dump(values, allow_unicode=True).encode("utf-8", "replace"))
)
@example(b'base:\n"\\v":')  # a key that would break its line
def test_any_parameter_file_is_valid_or_told_in_lines(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = Paths(Path(folder))
        paths.params.write_bytes(content)
        faults = ""
        try:
            assert check_params(paths).profile in PROFILES
        except BadParams as error:
            faults = str(error)
    assert all(line.startswith("params.yaml: ") for line in faults.splitlines())


@FUZZ
@given(
    st.sampled_from(["phrase", "number", "overlap", "expression"]),
    TEXT | st.text("0123456789+-*/(). =,e−×", max_size=40),
    st.text(st.characters(exclude_categories=["Cs"])),  # a reference was read from UTF-8
)
def test_checkers_judge_any_answer(kind: Any, answer: str, expected: str) -> None:
    known = {
        "number": {"value": 12.0, "tolerance": 0.01},
        "expression": {"numbers": (1, 2, 3), "target": 6},
        "overlap": {"minimum": 0.5},
    }
    problem = make_problem(answer=expected or "x", checker=CheckerSpec(kind, known.get(kind, {})))
    assert check(problem, answer) in (True, False)


@FUZZ
@given(st.dictionaries(st.sampled_from(["function", "url", "headers", "method", "result", "max_bytes", "x"]), JSON))
def test_any_definition_of_an_http_tool_is_valid_or_told(fields: dict[str, Any]) -> None:
    reasons = []
    try:
        assert HttpToolSettings.model_validate(fields).url.startswith(("http://", "https://"))
    except ValidationError as error:
        reasons = [fault["msg"] for fault in error.errors()]
    assert all(reasons)


@FUZZ
@given(TEXT, TEXT, SCHEMAS)
def test_any_tool_that_a_server_offers_is_taken_under_a_safe_name_or_refused(
    name: str, description: str, schema: dict[str, Any]
) -> None:
    try:
        offered = ServerTool(name=name, description=description, input_schema=schema)
    except ValidationError:
        return  # the SDK itself takes no such message
    try:
        spec = _spec("server", McpServerSettings(command="x"), offered)
    except BadTool:
        return
    assert spec.name == safe_name(name)
    assert parse_turn(render_call(ToolCall(spec.name, {})), [spec]).answer is None


@FUZZ
@given(
    st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()), st.none() | st.just("query[0].type")
)
def test_any_body_of_an_answer_is_text_or_a_fault(body: bytes, path: str | None) -> None:
    try:
        text = _read(body, path)
    except HttpFault:
        return
    assert isinstance(text, str)


@FUZZ
@given(TEXT | st.sampled_from(["http://", "https://"]).flatmap(lambda scheme: TEXT.map(lambda rest: scheme + rest)))
def test_any_address_has_one_host_or_is_refused(url: str) -> None:
    try:
        host = host_of(url)
    except ValueError:
        return
    assert host
    assert "@" not in host
    assert "/" not in host


@FUZZ
@given(TEXT | st.ip_addresses().map(str))
def test_any_address_is_public_or_not(address: str) -> None:
    assert is_public(address) in (True, False)


@SLOW
@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_damaged_model_folder_is_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "MANIFEST.json").write_bytes(content)
        weights = Path(folder) / "model.safetensors"
        weights.write_bytes(len(content).to_bytes(8, "little") + content)
        with pytest.raises(BadModelFolder):
            verify_manifest(folder)
        with suppress(BadModelFolder):
            check_safetensors(weights)
