"""A secret that a tool is given is in no result, record, trace, parameter, log or message, even if it is sent back."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import mcp_servers
import pytest
import yaml
from doubles import ScriptedPolicy, cut_words, make_problem, play, text_action
from local_server import served

from components.evaluation.samples import choose_samples
from components.evaluation.spans import trajectory_span
from components.records.jsonl import write_records
from components.schema.message import ToolCall
from components.schema.tool import ToolSpec
from components.schema.trajectory import Action, State
from components.tools.grammar import render_call
from components.tools.prices import PriceSheet
from flows.shared.params import BadParams, load_params
from flows.shared.paths import Paths
from flows.shared.registry import Registry
from flows.shared.tools import open_tools

SECRET = "s3cret-41c7b9d0e2"
NAME = "QANAT_TEST_SECRET"


class Caller(ScriptedPolicy):
    """Writes its texts with the tools of one toolbox on offer."""

    def __init__(self, texts: Sequence[str], specs: Sequence[ToolSpec]) -> None:
        super().__init__(texts)
        self._specs = specs

    def act(self, state: State) -> Action:
        """The action for the turn that `state` is at."""
        return text_action(super().act(state).message.content, specs=self._specs)


class Leaks(BaseHTTPRequestHandler):
    """Sends the secret back, as an answer or as a page of an error."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = f"you are {self.headers['Authorization']}, {self.headers['X-Trace']}".encode()
        self.send_response(500 if b"fail" in body else 200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("X-Secret", str(self.headers["Authorization"]))
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Paths]:
    """A project with a service and a server that are given the secret."""
    monkeypatch.setenv(NAME, SECRET)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    with served(Leaks, release=threading.Event()) as here:
        argument = {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": False}
        service = {
            "function": {"name": "weather", "description": "Gives the weather.", "parameters": argument},
            "url": here,
            "headers": {"Authorization": f"Bearer ${{{NAME}}}", "X-Trace": f"${{{NAME}}}"},
        }
        server = {"command": sys.executable, "args": [mcp_servers.__file__], "env": {"TOKEN": f"${{{NAME}}}"}}
        server["only"] = ["variable"]
        tools = {"own": {"http": [service], "mcp": {"letters": server}}, "private_hosts": ["127.0.0.1"]}
        tools["timeouts"] = {
            "letters": 300,
            "variable": 300,
            "weather": 300,
        }  # the server is a process that imports much
        price = {"money": 0, "seconds": 0.1}
        made = Paths(tmp_path)
        values = {"tools": tools, "prices": {"tools": {"weather": price, "variable": price}}}
        made.params.write_text(yaml.safe_dump(values))
        made.passages.parent.mkdir(parents=True)
        write_records(made.passages, [])
        yield made


def test_a_planted_secret_is_in_no_artifact(
    paths: Paths, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    params = load_params(paths)
    calls = [
        ToolCall("weather", {"city": "Lyon"}),
        ToolCall("weather", {"city": "fail"}),
        ToolCall("variable", {"name": "TOKEN"}),
    ]
    problem = make_problem(tool_names=("weather", "variable"), max_calls=4)
    with open_tools(paths, params, cut=cut_words) as box:
        results = [result.content for result in box.call_many(calls)]
        texts = [*map(render_call, calls), "It is dry."]
        policy = Caller(texts, box.specs(("weather", "variable")))
        trajectory = play(problem, policy, box)
    assert results == ["you are Bearer [secret], [secret]", "Error: weather answered HTTP 500.", "it is [secret]"]
    assert [len(transition.results) for transition in trajectory.transitions] == [1, 1, 1, 0]
    write_records(paths.root / "trajectories.jsonl", [trajectory])
    registry = Registry(paths, experiment="toy", model="toy")
    run = registry.open_run("toy", run_id=None, tags={})
    registry.log_params(run, {"tools": str(params.raw(("tools",))), "settings": params.tools.model_dump_json()})
    registry.log_trace(run, trajectory_span(problem, trajectory, policy="final", start_ns=1))
    registry.close_run(run, status="FINISHED")
    views = choose_samples([problem], [trajectory], PriceSheet().units, count=1)
    said = "".join([caplog.text, *capfd.readouterr(), repr(views), repr(trajectory), repr(params.tools)])
    assert SECRET not in said
    files = [file for file in paths.root.rglob("*") if file.is_file()]
    assert {"mlflow.db", "trajectories.jsonl", "params.yaml"} <= {file.name for file in files}
    assert [file for file in files if SECRET.encode() in file.read_bytes()] == []


@pytest.mark.parametrize(
    "fault",
    [
        "http: [{url: 'http://a.example', headers: {Authorization: 'Bearer %s'}}]",
        "http: [{url: 'http://a.example', headers: {X-Mine: '%s\\n'}}]",
        "http: [{url: 'http://me:%s@a.example'}]",
        "http: [{url: 'http://a.example?token=%s'}]",
        "http: '%s'",
        "mcp: {a: {command: x, env: {API_KEY: '%s'}}}",
        "mcp: {a: {command: x, url: 'http://a.example/%s'}}",
        "mcp: {a: {command: x, args: ['--api-key=%s']}}",
        "mcp: {a: {command: x, headers: {X-Mine: '%s'}}}",
    ],
)
def test_a_secret_written_into_the_parameters_is_refused_and_not_repeated(tmp_path: Path, fault: str) -> None:
    paths = Paths(tmp_path)
    paths.params.write_text(f"tools: {{own: {{{fault % SECRET}}}}}\n")
    with pytest.raises(BadParams, match=r"params\.yaml: tools\.own") as caught:
        _ = load_params(paths).tools
    assert SECRET not in str(caught.value)


def test_a_servers_environment_holds_the_secrets_of_its_own_settings_only(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QANAT_TEST_OTHER", "another-secret-9")
    with open_tools(paths, load_params(paths), cut=cut_words) as box:
        assert box.call(ToolCall("variable", {"name": "QANAT_TEST_OTHER"})).content == "it is not set"
