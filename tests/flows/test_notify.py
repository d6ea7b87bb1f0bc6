"""Whoever asked for it is told; a hook that fails fails nothing."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from flows.shared.notify import Notice, notify
from flows.shared.operations import Hook, load_operations
from flows.shared.params import BadParams
from flows.shared.paths import Paths

NOTICE = Notice("promoted", "version 3 is champion", "It is better.")
BODY = {"occasion": "promoted", "title": "version 3 is champion", "text": "It is better."}


@pytest.fixture
def posted() -> Iterator[tuple[str, list[bytes]]]:
    """Address of a server on loopback, and what was posted to it; below /broken it answers 500."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(500 if self.path == "/broken" else 204)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    server.server_close()


def _hook(**values: object) -> Hook:
    return Hook.model_validate(values)


def test_address_gets_the_notice_as_json(posted: tuple[str, list[bytes]]) -> None:
    url, bodies = posted
    assert notify([_hook(url=url)], NOTICE) == []
    assert [json.loads(body) for body in bodies] == [BODY]


def test_command_reads_the_notice_as_json(tmp_path: Path) -> None:
    program = f"import sys; open({str(tmp_path / 'told')!r}, 'w').write(sys.stdin.read())"
    assert notify([_hook(command=[sys.executable, "-c", program])], NOTICE) == []
    assert json.loads((tmp_path / "told").read_text()) == BODY


def test_hook_is_told_only_what_it_asked_for(posted: tuple[str, list[bytes]]) -> None:
    url, bodies = posted
    assert notify([_hook(url=url, occasions=["alarm", "run-failed"])], NOTICE) == []
    assert bodies == []


def test_hooks_that_fail_are_named_and_the_others_still_told(posted: tuple[str, list[bytes]]) -> None:
    url, bodies = posted
    broken = [
        _hook(url=f"{url}/broken"),
        _hook(url="http://127.0.0.1:1/"),
        _hook(command=["no-such-program"]),
        _hook(command=[sys.executable, "-c", "raise SystemExit(1)"]),
    ]
    assert len(notify([*broken, _hook(url=url)], NOTICE)) == 4
    assert len(bodies) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("notify: [{occasions: [alarm]}]", "infra/qanat.yaml: notify.0: Value error, give either command or url"),
        ("notify: [{url: 'file:///etc/passwd'}]", "infra/qanat.yaml: notify.0.url: URL scheme should be"),
        ("notify: [{command: [x], occasions: [tea]}]", "infra/qanat.yaml: notify.0.occasions.0: Input should be"),
        ("watch: {quiet_seconds: -1}", "infra/qanat.yaml: watch.quiet_seconds: Input should be greater"),
        ("wach: {}", "infra/qanat.yaml: wach: Extra inputs"),
        ("watch: [", "infra/qanat.yaml: not readable as YAML"),
    ],
)
def test_faults_of_the_settings_name_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    paths = Paths(tmp_path)
    paths.operations.parent.mkdir()
    paths.operations.write_text(text)
    with pytest.raises(BadParams) as caught:
        load_operations(paths)
    assert str(caught.value).startswith(message)
