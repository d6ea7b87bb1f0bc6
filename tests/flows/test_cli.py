"""The command `qanat`, as a person runs it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from prefect.artifacts import Artifact
from registered import open_desk, register

from flows.cli import main
from flows.shared.faults import UserFault
from flows.shared.paths import Paths
from flows.shared.prefect_server import free_port

QANAT = [sys.executable, "-m", "flows.cli"]


def _qanat(project: Paths, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*QANAT, *arguments], cwd=project.root, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )


def _cpu_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_run_promotes_and_a_second_run_does_nothing(project: Paths, prefect_api: str) -> None:
    first = _qanat(project, "run", PREFECT_API_URL=prefect_api)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "3 stages ran: first, second, third." in first.stdout
    assert f"Champion: {project.root.name} version 1" in first.stdout
    assert f"/#/models/{project.root.name}/versions/1" in str(Artifact.get("model-version").data)
    before = _cpu_seconds_of_children()
    second = _qanat(project, "run", PREFECT_API_URL="http://127.0.0.1:1/api")
    assert second.returncode == 0, second.stdout + second.stderr
    assert "0 stages ran" in second.stdout
    assert f"Champion: {project.root.name} version 1" in second.stdout
    # the bar is 15 s of wall time on an idle machine; processor time says the same on a busy one
    assert _cpu_seconds_of_children() - before < 15
    assert not (project.logs / "prefect-server.log").exists()
    assert _qanat(project, "explain", "second").stdout == "second: nothing changed, it would not run\n"
    assert _qanat(project, "history", "--verify").stdout == "5 rows, the chain is whole\n"
    project.params.write_text("profile: demo\nseed: 5\n")
    assert _qanat(project, "explain", "second").stdout == "second: modified params.yaml: seed\n"


def test_new_annotations_are_noticed(project: Paths) -> None:
    from flows.annotations import ensure

    assert ensure(project) == ["data/annotations changed: tracked anew in data/annotations.dvc"]
    assert ensure(project) == []
    (project.annotations / "b.jsonl").write_text("{}\n")
    assert ensure(project) == ["data/annotations changed: tracked anew in data/annotations.dvc"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--profile", "big"), "qanat: --profile: must be one of demo, full, smoke, is 'big'"),
        (("explain", "nowhere"), "qanat: dvc.yaml has no stage 'nowhere' (it has first, second, third)"),
        (("ask", "Why?"), "qanat: no champion yet: `qanat run` trains and promotes one"),
        (("rollback", "--reason", "bad"), "qanat: there is no champion to roll back"),
        (("promote", "7"), "qanat: --reason: say why, it goes into the history"),
        (
            ("promote", "--force"),
            "qanat: --reason, --by, --force and --now belong to `qanat promote VERSION`: "
            "what is on disk goes by the gate",
        ),
        (
            ("gate", "simulate", "--look", "11"),
            "qanat: --look: mlflow/registry.yaml allows 10 looks (gate.looks), is 11",
        ),
        (
            ("gate", "simulate", "--effect", "30"),
            "qanat: --effect: a gain of 0.3 needs a discordance of at least 0.3, at most 1",
        ),
    ],
)
def test_fault_is_one_line_without_a_stack_trace(
    project: Paths,
    arguments: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(project.root)
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 1
    assert capsys.readouterr().err.strip() == message


def _say(*arguments: str) -> None:
    """The command in this process, which must end well."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0


def test_person_promotes_rolls_back_and_reads_the_history(
    project: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = open_desk(project.root, project.root.name)
    first, second = register(desk, "one"), register(desk, "two")
    monkeypatch.chdir(project.root)
    _say("promote", first.number, "--reason", "first of all")
    _say("promote", second.number, "--reason", "better", "--by", "ann")
    _say("served", second.number, "--server", "node-1")
    _say("rollback", "--reason", "wrong sums", "--by", "bob")
    capsys.readouterr()
    _say("history")
    told = capsys.readouterr().out
    assert "promote 1 -> 2  DONE" in told
    assert "rollback 2 -> 1  DONE" in told
    assert "by        bob" in told
    _say("reconcile")
    assert capsys.readouterr().out.startswith("nothing to do")


def test_flows_do_what_the_commands_do(project: Paths, prefect_api: str) -> None:
    from flows.promote import promote_version, reconcile, rollback

    desk, root = open_desk(project.root, project.root.name), str(project.root)
    for weights in ("one", "two"):
        number = register(desk, weights).number
        assert promote_version(number, reason="better", by="ann", root=root).state == "DONE"
    assert rollback(reason="wrong sums", by="bob", root=root).state == "DONE"
    assert reconcile(root=root) == ["nothing to do: no promotion is half done, and the alias is as the ledger says"]
    assert desk.ledger.champion() == "1"


def test_failed_promotion_flows_tell_those_who_asked_for_it(project: Paths, prefect_api: str) -> None:
    from flows.promote import rollback

    told = project.root / "told"
    program = f"import sys; open({str(told)!r}, 'w').write(sys.stdin.read())"
    project.operations.parent.mkdir()
    project.operations.write_text(json.dumps({"notify": [{"command": [sys.executable, "-c", program]}]}))
    with pytest.raises(UserFault, match="there is no champion to roll back"):
        rollback(reason="wrong sums", root=str(project.root))
    assert json.loads(told.read_text())["title"].startswith("rollback failed: run ")


def test_operating_curve_is_printed_with_its_theory(
    project: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.root)
    _say("gate", "simulate", "--gates", "200", "--problems", "64", "--effect", "10")
    head, names, line = capsys.readouterr().out.splitlines()
    assert head.startswith("200 gates a line, 64 problems, discordance 20 %, look 1 of 10 (pocock): alpha 0.00")
    assert names.split() == ["true", "gain", "promoted", "theory"]
    assert line.startswith("+10.0 pts")


def test_bad_annotations_are_explained_row_by_row(project: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    (project.annotations / "a.jsonl").write_text('{"kind": "pair"\n{"kind": "dance"}\n')
    with pytest.raises(SystemExit) as caught:
        main(["annotations", "check", str(project.annotations)])
    assert caught.value.code == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("a.jsonl:1: is not valid JSON at column 16")
    assert lines[-1] == "0 good rows, 2 bad"


def test_added_annotations_are_versioned_and_bad_ones_told(
    project: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    good = {"kind": "pair", "annotation_id": "i1", "prompt": "?", "annotator": "a", "created": "2026-01-31T12:00:00Z"}
    row = json.dumps({**good, "reference": {"text": "It is 4.", "answer": "4"}})
    (tmp_path / "new.jsonl").write_text(f"{row}\n{{}}\n")
    with pytest.raises(SystemExit) as caught:
        main(["annotations", "add", str(tmp_path / "new.jsonl")])
    assert caught.value.code == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("new.jsonl:2 kind: must be one of")
    assert said[1] == "1 added, 0 known, 1 refused"
    assert said[2].startswith("refused rows are kept in .qanat/intake/quarantine/")
    assert "nfiles: 2" in (project.data / "annotations.dvc").read_text()
    (tmp_path / "new.jsonl").write_text(f"{row}\n")
    with pytest.raises(SystemExit) as caught:
        main(["annotations", "add", str(tmp_path / "new.jsonl")])
    assert caught.value.code == 0
    assert capsys.readouterr().out.splitlines() == ["0 added, 1 known, 0 refused"]


def test_pages_of_mlflow_and_prefect_open_and_close_together(project: Paths) -> None:
    ports = free_port(), free_port()
    command = [*QANAT, "ui", "--mlflow-port", str(ports[0]), "--prefect-port", str(ports[1])]
    ui = subprocess.Popen(command, cwd=project.root, stdout=subprocess.PIPE, text=True)
    try:
        assert ui.stdout is not None
        assert [ui.stdout.readline().split()[0] for _ in range(2)] == ["MLflow", "Prefect"]
        for port in ports:
            assert "<html" in httpx.get(f"http://127.0.0.1:{port}/", follow_redirects=True).text
    finally:
        ui.send_signal(signal.SIGTERM)
        ui.communicate(timeout=30)
    assert ui.returncode == 0
    for port in ports:
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{port}/")
