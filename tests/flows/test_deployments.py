"""Deployments on a real server: scheduled, versioned, run in workspaces, resumed after a crash."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from registered import register

from flows.shared import by_hand
from flows.shared.git import read_commit
from flows.shared.newest_retrain import Newest, read_newest
from flows.shared.paths import Paths
from flows.shared.promoting import QUARANTINED, open_desk

DEPLOYED = {"retrain", "watch", "evaluate", "promote", "rollback", "reconcile"}
EAGER = "watch: {quiet_seconds: 0, minimum: 1}\nfree_gigabytes: 0\n"


def _until(true: Callable[[], Any], seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.3)
    return found


def _serve(project: Paths, api: str) -> subprocess.Popen[str]:
    """`qanat deploy`, once it has deployed."""
    env = {**os.environ, "PREFECT_API_URL": api}
    served = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "deploy", "--cron", "0 3 * * *"],
        cwd=project.root,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert served.stdout is not None
    while not (line := served.stdout.readline()).startswith("deployed"):
        assert line, "it ended before it had deployed"
    return served


@pytest.fixture
def served(project: Paths, prefect_api: str) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts `qanat deploy` in the project; whatever is left of it is ended."""
    project.operations.parent.mkdir()
    project.operations.write_text(EAGER)
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        started.append(_serve(project, prefect_api))
        return started[-1]

    yield start
    for one in started:
        _kill(one)


def _kill(one: subprocess.Popen[str]) -> None:
    """SIGKILL to it and to the flow runs it started; stages lead groups of their own and live on."""
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == one.pid:
                process.kill()
        except (psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            continue
    one.wait()


def _newest(project: Paths) -> Newest:
    found = read_newest(project)
    assert found is not None
    return found


def _run(api: str, run_id: str) -> Any:
    return httpx.get(f"{api}/flow_runs/{run_id}").json()


def _ended(api: str, run_id: str) -> Any:
    return _until(lambda: (run := _run(api, run_id))["state_type"] not in ("SCHEDULED", "PENDING", "RUNNING") and run)


def _logs(api: str, run_id: str) -> str:
    def read() -> list[str]:
        wanted = {"logs": {"flow_run_id": {"any_": [run_id]}}}
        return [row["message"] for row in httpx.post(f"{api}/logs/filter", json=wanted).json()]

    return "\n".join(_until(lambda: (lines := read()) and any("third " in line for line in lines) and lines, 20))


def test_annotations_start_one_retrain_and_an_unchanged_rerun_runs_no_stage(
    project: Paths, prefect_api: str, served: Callable[[], subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import get_client

    from flows.watch import Nothing, Start, look

    served()
    _assert_deployed(project, prefect_api)
    assert isinstance(look(project), Start)
    asked = _newest(project)
    assert isinstance(look(project), Nothing)
    done = _ended(prefect_api, str(asked.flow_run_id))
    assert done["state_type"] == "COMPLETED", done["state"]
    assert done["deployment_version"] == read_commit(project.root).version
    assert "first ran, second ran, third ran" in _logs(prefect_api, str(asked.flow_run_id))
    space = Paths(Path(str(_newest(project).workspace)))
    assert space.root.is_relative_to(project.workspaces)
    assert not project.dvc_lock.exists()
    assert space.dvc_lock.is_file()
    assert isinstance(look(project), Nothing)
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("retrain/retrain")
        again = client.create_flow_run_from_deployment(deployment.id)
    assert _ended(prefect_api, str(again.id))["state_type"] == "COMPLETED"
    assert "first unchanged, second unchanged, third unchanged" in _logs(prefect_api, str(again.id))


def _assert_deployed(project: Paths, api: str) -> None:
    wanted = {"deployments": {"name": {"any_": sorted(DEPLOYED)}}}
    found = {one["name"]: one for one in httpx.post(f"{api}/deployments/filter", json=wanted).json()}
    assert set(found) == DEPLOYED
    assert {one["version"] for one in found.values()} == {read_commit(project.root).version}
    form = found["retrain"]["parameter_openapi_schema"]["definitions"]["RetrainRequest"]["properties"]
    assert set(form) == {"profile", "seed", "promote", "why"}
    scheduled = {"deployments": {"id": {"any_": [found["retrain"]["id"]]}}}
    runs = _until(lambda: httpx.post(f"{api}/flow_runs/filter", json=scheduled).json(), 60)
    assert {run["state_type"] for run in runs} == {"SCHEDULED"}
    names = [one["name"] for one in httpx.post(f"{api}/automations/filter", json={}).json()]
    assert names.count("qanat: runs without a heartbeat") == 1


def test_retrain_whose_machine_died_is_found_crashed_and_its_successor_resumes_it(
    project: Paths, prefect_api: str, served: Callable[[], subprocess.Popen[str]]
) -> None:
    from flows.watch import Start, look

    (project.root / "pause-at").write_text("3")
    subprocess.run(["git", "add", "pause-at"], cwd=project.root, check=True)
    subprocess.run(["git", "commit", "-qm", "pause"], cwd=project.root, check=True)
    first = served()
    assert isinstance(look(project), Start)
    run_id = str(_newest(project).flow_run_id)
    space = Paths(Path(_until(lambda: _newest(project).workspace)))
    checkpoint = space.work("second") / "step"
    _until(lambda: checkpoint.is_file() and checkpoint.read_text() == "3")
    orphan = int((space.work("second") / "lock").read_text())
    _kill(first)
    assert psutil.pid_exists(orphan)
    assert _run(prefect_api, run_id)["state_type"] == "RUNNING"
    (space.root / "pause-at").unlink()
    served()
    assert _run(prefect_api, run_id)["state_type"] == "CRASHED"
    _until(lambda: not psutil.pid_exists(orphan), 20)
    assert look(project) == Start(_newest(project).data, 2)
    successor = str(_newest(project).flow_run_id)
    assert successor != run_id
    assert _ended(prefect_api, successor)["state_type"] == "COMPLETED"
    assert _newest(project).workspace == str(space.root)
    assert "starting at 3" in _logs(prefect_api, successor)


def test_champions_are_taken_back_and_put_right_through_deployments_and_people_hear_of_it(
    project: Paths, prefect_api: str, served: Callable[[], subprocess.Popen[str]]
) -> None:
    hook = "import sys, pathlib; pathlib.Path('told').open('a').write(sys.stdin.read())"
    settings = yaml.safe_dump({"notify": [{"command": [sys.executable, "-c", hook]}], "free_gigabytes": 0})
    project.operations.write_text(settings)
    desk = open_desk(project)
    for weights in ("one", "two"):
        by_hand.promote_version(desk, register(desk, weights).number, reason="test", by="ann")
    served()
    back = _asked(prefect_api, "rollback", {"reason": "it rambles", "by": "bob"})
    assert back["state_type"] == "COMPLETED", back["state"]
    champion = desk.champion()
    assert champion is not None
    assert champion.number == "1"
    assert "it rambles" in desk.registry.version("2").tags[QUARANTINED]
    assert "version 1 is champion again" in (project.root / "told").read_text()
    desk.registry.set_alias("champion", "2")
    assert _asked(prefect_api, "reconcile", {"restore": True})["state_type"] == "COMPLETED"
    champion = desk.champion()
    assert champion is not None
    assert champion.number == "1"
    again = _asked(prefect_api, "rollback", {"reason": "once more"})
    assert again["state_type"] == "FAILED"
    assert "nothing to roll back to" in again["state"]["message"]
    told = _until(lambda: "nothing to roll back to" in (text := (project.root / "told").read_text()) and text)
    assert "run-failed" in told
    assert desk.ledger.faults() == ()


def _asked(api: str, name: str, parameters: dict[str, Any]) -> Any:
    """The flow run of a deployment, once it has ended."""
    from prefect.client.orchestration import SyncPrefectClient

    # Prefect's own client asks again while the server's database is locked, which it tells by 503
    with SyncPrefectClient(api) as client:
        deployment = client.read_deployment_by_name(f"{name}/{name}")
        run = client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
    return _ended(api, str(run.id))
