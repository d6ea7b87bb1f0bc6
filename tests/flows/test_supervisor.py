"""Services are kept running and leave nothing behind; `qanat up` runs the real ones."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from flows.shared.paths import Paths
from flows.shared.prefect_server import free_port
from flows.shared.process import Groups
from flows.shared.supervisor import Service, Supervisor, read_states

SLEEPER = """\
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
time.sleep(60)
"""


class Clock:
    """Stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def _supervisor(tmp_path: Path, *services: Service) -> tuple[Supervisor, list[str], Clock]:
    said: list[str] = []
    clock = Clock()
    groups = Groups(tmp_path / "groups.json")
    files = {"cwd": tmp_path, "logs": tmp_path / "logs", "record": tmp_path / "up.json"}
    return Supervisor(services, groups, **files, say=said.append, clock=clock), said, clock


def _service(name: str, program: str, *, after: tuple[str, ...] = (), health: str | None = None) -> Service:
    return Service(name, (sys.executable, "-c", program), after=after, health=health)


def _step_until(supervisor: Supervisor, true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        supervisor.step()
        assert time.monotonic() < end, supervisor.states


def _health(supervisor: Supervisor) -> list[str]:
    return [one.health for one in supervisor.states]


def test_what_dies_is_started_again_after_a_pause_that_doubles(tmp_path: Path) -> None:
    supervisor, said, clock = _supervisor(tmp_path, _service("brief", "raise SystemExit(3)"))
    for pause in (1, 2, 4):
        _step_until(supervisor, lambda: _health(supervisor) == ["restarting"])
        assert said[-2] == f"brief        ended with status 3, again in {pause} s (see its log)"
        clock.now += pause - 0.1
        supervisor.step()
        assert supervisor.states[0].pid is None
        clock.now += 0.1
        supervisor.step()
        assert supervisor.states[0].pid is not None
    supervisor.stop()


def test_a_service_waits_for_the_health_of_those_it_needs(tmp_path: Path) -> None:
    port = free_port()
    server = f"import http.server as h; h.test(h.SimpleHTTPRequestHandler, port={port}, bind='127.0.0.1')"
    first = _service("page", server, health=f"http://127.0.0.1:{port}/")
    supervisor, said, _ = _supervisor(tmp_path, first, _service("user", SLEEPER, after=("page",)))
    supervisor.step()
    assert _health(supervisor) == ["starting", "waiting"]
    _step_until(supervisor, lambda: _health(supervisor) == ["up", "up"])
    assert [line.split()[:2] for line in said][:2] == [["page", "starting"], ["page", "up"]]
    assert [one.name for one in read_states(tmp_path / "up.json")] == ["page", "user"]
    supervisor.stop()


def test_stop_ends_children_of_services_as_well(tmp_path: Path) -> None:
    supervisor, _, _ = _supervisor(tmp_path, _service("parent", SLEEPER))
    _step_until(supervisor, lambda: _health(supervisor) == ["up"])
    parent = psutil.Process(supervisor.states[0].pid)
    _step_until(supervisor, lambda: bool(parent.children()))
    (child,) = parent.children()
    supervisor.stop()
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert read_states(tmp_path / "up.json") == ()


@pytest.fixture
def ports(project: Paths) -> tuple[int, int, int, int]:
    found = free_port(), free_port(), free_port(), free_port()
    project.operations.parent.mkdir()
    project.operations.write_text(
        f"ports: {{prefect: {found[0]}, mlflow: {found[1]}, annotation: {found[2]}, serve: {found[3]}}}\n"
        "watch: {minimum: 999}\n"
    )
    return found


def test_up_starts_everything_status_tells_it_and_sigterm_leaves_nothing(
    project: Paths, ports: tuple[int, int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(project.prefect_home))
    qanat = [sys.executable, "-m", "flows.cli"]
    before = subprocess.run([*qanat, "status"], cwd=project.root, capture_output=True, text=True, check=True).stdout
    assert before.startswith("Nothing is up")
    up = subprocess.Popen([*qanat, "up"], cwd=project.root, stdout=subprocess.PIPE, text=True)
    assert up.stdout is not None
    running = set()
    while len(running) < 6:
        line = up.stdout.readline()
        assert line, "it ended"
        running |= {line.split()[0]} if line.split()[1] == "up" else set()
    assert running == {"prefect", "mlflow", "annotation", "deployments", "watch", "serve"}
    pids = [one.pid for one in read_states(project.up)]
    assert (
        "prefect      up" in subprocess.run([*qanat, "status"], cwd=project.root, capture_output=True, text=True).stdout
    )
    up.send_signal(signal.SIGTERM)
    up.communicate(timeout=90)
    assert up.returncode == 0
    for port in ports:
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{port}/")
    assert not [process for process in psutil.process_iter() if _session(process.pid) in pids]
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1
