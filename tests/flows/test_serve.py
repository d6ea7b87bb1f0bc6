"""`qanat serve` as a process of its own over a real registry: it follows the alias, and nothing bad gets through."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import mlflow
import openai
import pytest
from doubles import PASSAGES
from openai import OpenAI
from registered import open_desk
from served import client, random_policy, wait_until
from signing_keys import new_key

from components.policy.load import save_model
from components.policy.policy import Policy
from components.records.jsonl import write_records
from components.records.manifest import write_manifest
from components.records.responses import find_response
from components.records.signing import sign
from components.serving.stock import Stock
from flows.shared import by_hand
from flows.shared.beside import set_canary, set_shadow
from flows.shared.faults import UserFault
from flows.shared.following import Follower
from flows.shared.loading import Loader
from flows.shared.operations import load_operations
from flows.shared.params import load_params
from flows.shared.paths import Paths
from flows.shared.prefect_server import free_port
from flows.shared.promoting import Desk
from flows.shared.registry import DIGEST_TAG, Version
from flows.shared.signatures import SIGNATURE_TAG
from flows.shared.traffic import read_traffic

SETTINGS = (
    "serve: {traces: 1, poll_seconds: 0.05, retry_seconds: 0.2, golden: [{prompt: Hi}], limits: {answer_tokens: 16}}\n"
)


@pytest.fixture
def served_project(project: Paths) -> Paths:
    write_records(project.passages, PASSAGES)
    project.operations.parent.mkdir()
    project.operations.write_text(f"{SETTINGS}ports: {{serve: {free_port()}}}\n")
    project.params.write_text("profile: demo\nseed: 0\npolicy: {dtype: float32, threads: 1}\n")
    return project


def _desk(paths: Paths) -> Desk:
    return open_desk(paths.root, paths.root.name, required_tags=())


def _register(desk: Desk, seed: int, *, tag: str | None = None) -> Version:
    """A version with weights of their own; `tag` in place of the digest that its files have."""
    folder = desk.paths.root / f"payload-{seed}"
    policy = random_policy(seed)
    save_model(policy.model, policy.chat.tokenizer, folder)
    digest = write_manifest(folder)
    run_id = desk.registry.open_run("test", run_id=None, tags={})
    tags = {DIGEST_TAG: digest if tag is None else tag, "gate.decision": "promote"}
    return desk.registry.register(folder, run_id=run_id, tags=tags)


def _promote(desk: Desk, version: Version) -> None:
    assert by_hand.promote_version(desk, version.number, reason="test", by="ann").state == "DONE"


@contextmanager
def _serving(paths: Paths) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    log = (paths.root / "serve.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "serve"], cwd=paths.root, stdout=log, stderr=subprocess.STDOUT, text=True
    )
    url = f"http://127.0.0.1:{load_operations(paths).ports.serve}"
    try:
        wait_until(lambda: process.poll() is not None or _reached(url), 300)
        assert process.poll() is None, (paths.root / "serve.log").read_text()
        yield url, process
    finally:
        process.kill()
        process.wait()
        log.close()


def _reached(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=30).status_code == 200
    except httpx.HTTPError:
        return False


def _ready(url: str) -> Any:
    return httpx.get(f"{url}/readyz", timeout=60).json()


def _ask(ai: OpenAI, model: str, **more: Any) -> Any:
    return ai.chat.completions.create(
        **{"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8, **more}
    )


def test_the_server_waits_for_a_champion_follows_it_back_and_forth_and_drains(served_project: Paths) -> None:
    desk, name = _desk(served_project), served_project.root.name
    first, second = _register(desk, 1), _register(desk, 2)
    with _serving(served_project) as (url, process):
        ai = client(url, timeout=300)
        assert httpx.get(f"{url}/readyz").status_code == 503
        with pytest.raises(openai.APIStatusError, match="no champion yet"):
            _ask(ai, name)
        _promote(desk, first)
        wait_until(lambda: (_ready(url)["champion"] or {}).get("version") == "1", 300)
        answer = _ask(ai, name)
        assert answer.system_fingerprint == f"{name}:1:{first.digest[:12]}"
        recorded = find_response(served_project.served_responses, answer.id)
        assert recorded is not None
        assert recorded.digest == first.digest
        _promote(desk, second)
        wait_until(lambda: _ready(url)["champion"]["version"] == "2", 300)
        assert _ask(ai, name).model == f"{name}@2"
        assert _ask(ai, f"{name}@1").model == f"{name}@1"
        by_hand.rollback(desk, reason="worse", by="ann")
        wait_until(lambda: _ready(url)["champion"]["version"] == "1", 300)
        with ThreadPoolExecutor(1) as other:
            streamed = threading.Event()

            def stream() -> str:
                text = ""
                for chunk in _ask(ai, name, stream=True, max_tokens=16, tool_choice="none", temperature=1.0, seed=1):
                    streamed.set()
                    text += chunk.choices[0].finish_reason or ""
                return text

            last = other.submit(stream)
            assert streamed.wait(300)
            process.send_signal(signal.SIGTERM)
            assert last.result(300) in ("stop", "length"), "an answer under way ends"
        assert process.wait(300) == 0
    said = (served_project.root / "serve.log").read_text()
    assert "version 2" in said
    assert "in place of 1" in said
    experiments = [one.experiment_id for one in mlflow.search_experiments()]
    traces = mlflow.search_traces(locations=experiments, run_id=first.run_id, return_type="list")
    assert answer.id in {trace.data.spans[0].attributes["response_id"] for trace in traces}


@pytest.fixture
def follower(served_project: Paths) -> Iterator[tuple[Desk, Follower, Stock, list[str]]]:
    """What keeps the stock, without its thread; looks when it is told to."""
    desk, stock, said = _desk(served_project), Stock(), list[str]()
    settings = load_operations(served_project).serve
    loader = Loader(served_project, load_params(served_project), settings, desk.registry, told=said.append)
    now = [0.0]

    def clock() -> float:
        now[0] += 1000.0  # whatever failed may be tried again at the next look
        return now[0]

    made = Follower(desk, stock, settings, load=loader.load, clock=clock, say=said.append, server="test")
    yield desk, made, stock, said
    stock.keep(())
    loader.close()


def _truncate(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def _flip(folder: Path) -> None:
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)


def _add(folder: Path) -> None:
    (folder / "modeling.py").write_text("raise SystemExit")


def _unsign(folder: Path) -> None:
    (folder / "MANIFEST.json").unlink()


def _lose(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _other_model(folder: Path) -> None:
    """Files of another model that fit one another."""
    policy = random_policy(77)
    shutil.rmtree(folder)
    save_model(policy.model, policy.chat.tokenizer, folder)
    write_manifest(folder)


def _nan(folder: Path) -> None:
    policy = random_policy(2)
    policy.model.lm_head.weight.data.fill_(float("nan"))
    save_model(policy.model, policy.chat.tokenizer, folder)
    write_manifest(folder)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_truncate, "is truncated"),
        (_flip, "was changed"),
        (_add, "is not listed"),
        (_unsign, "MANIFEST.json is missing"),
        (_lose, "is missing"),
        (_other_model, "they were swapped"),
    ],
)
def test_spoilt_files_are_refused_with_the_reason_and_the_old_version_goes_on(
    follower: tuple[Desk, Follower, Stock, list[str]], spoil: Callable[[Path], None], reason: str
) -> None:
    desk, following, stock, said = follower
    good, bad = _register(desk, 1), _register(desk, 2)
    desk.registry.set_alias("champion", good.number)
    following.look()
    assert stock.routes.champion == good.number
    spoil(desk.registry.folder(bad))
    desk.registry.set_alias("champion", bad.number)
    following.look()
    assert stock.routes.champion == good.number
    assert reason in stock.faults.versions[bad.number]
    assert f"version {good.number} goes on" in said[-1]
    assert stock.get(good.number) is not None
    assert stock.get(bad.number) is None


def test_unsigned_unwilling_and_mended_versions(follower: tuple[Desk, Follower, Stock, list[str]]) -> None:
    desk, following, stock, _ = follower
    good, unsigned, nan = _register(desk, 1), _register(desk, 3, tag=""), _register(desk, 4)
    desk.registry.set_alias("champion", good.number)
    following.look()
    desk.registry.set_alias("champion", unsigned.number)
    following.look()
    assert "carries no digest" in stock.faults.versions[unsigned.number]
    folder = desk.registry.folder(nan)
    _nan(folder)
    desk.registry.tag_version(nan.number, {DIGEST_TAG: json.loads((folder / "MANIFEST.json").read_text())["digest"]})
    desk.registry.set_alias("champion", nan.number)
    following.look()
    assert "not numbers" in stock.faults.versions[nan.number], "its files are whole, but it cannot answer"
    assert stock.routes.champion == good.number
    mended = _register(desk, 5)
    desk.registry.set_alias("champion", mended.number)
    following.look()
    assert stock.routes.champion == mended.number
    desk.registry.delete_alias("champion")
    following.look()
    assert stock.routes.champion == mended.number, "an alias that vanishes changes nothing"


def test_a_version_that_nobody_trusted_signed_is_refused_and_the_old_one_goes_on(
    follower: tuple[Desk, Follower, Stock, list[str]], tmp_path: Path
) -> None:
    desk, _, stock, said = follower
    line = new_key(tmp_path / "key", who="ours")
    signed, unsigned = _register(desk, 1), _register(desk, 2)
    desk.registry.tag_version(signed.number, {SIGNATURE_TAG: sign(signed.digest, tmp_path / "key")})
    desk.paths.registry.parent.mkdir(exist_ok=True)
    desk.paths.registry.write_text(f"trusted_keys: ['{line.strip()}']\n")
    settings = load_operations(desk.paths).serve
    careful = Loader(desk.paths, load_params(desk.paths), settings, desk.registry, told=said.append)
    following = Follower(
        desk, stock, settings, load=careful.load, clock=time.monotonic, say=said.append, server="careful"
    )
    for version in (signed, unsigned):
        desk.registry.set_alias("champion", version.number)
        following.look()
    assert stock.routes.champion == signed.number
    assert "is not signed" in stock.faults.versions[unsigned.number]
    assert f"version {signed.number} goes on" in said[-1]
    stock.keep(())
    careful.close()


def test_the_ledger_hears_what_is_served_and_what_is_not(follower: tuple[Desk, Follower, Stock, list[str]]) -> None:
    desk, following, _, _ = follower
    good, bad = _register(desk, 1), _register(desk, 2)
    waiting = Desk(desk.paths, desk.settings.model_copy(update={"served_within": 300.0}), desk.registry, desk.ledger)
    _flip_later = desk.registry.folder(bad)
    with ThreadPoolExecutor(1) as other:
        for version, state in ((good, "DONE"), (bad, "ABORTED")):
            promoted = other.submit(by_hand.promote_version, waiting, version.number, reason="x", by="ann")
            wait_until(lambda: (champion := desk.champion()) is not None and champion.number == version.number)  # noqa: B023
            if version is bad:
                _flip(_flip_later)
            following.look()
            ended = promoted.result(120)
            assert ended.state == state
            assert "could not serve it" in ended.reason or version is good
    assert desk.ledger.champion() == good.number


def test_canary_and_shadow_are_put_beside_the_champion(
    follower: tuple[Desk, Follower, Stock, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, following, stock, said = follower
    paths = desk.paths
    with pytest.raises(UserFault, match="no champion yet"):
        set_shadow(paths, "1")
    one, two, three = (_register(desk, seed) for seed in (1, 2, 3))
    desk.registry.set_alias("champion", one.number)
    with pytest.raises(UserFault, match="there is no challenger"):
        set_canary(paths, 0.05, None)
    desk.registry.set_alias("challenger", two.number)
    assert set_canary(paths, 0.05, None) == "version 2 answers 5 % of the requests, version 1 the others"
    set_shadow(paths, three.number)
    following.look()
    assert (stock.routes.canary, stock.routes.canary_share, stock.routes.shadow) == ("2", 0.05, "3")
    assert stock.routes.challenger == "2"
    following.start()
    following.end_canary("2", "slow answers", lambda notice: said.append(notice.title))
    following.stop()
    assert stock.routes.canary is None
    assert read_traffic(paths).stopped == "version 2: slow answers"
    assert desk.registry.version("2").tags["canary.stopped"] == "slow answers"
    assert "the canary, version 2, was taken back" in said
    assert set_canary(paths, 0.0, None) == "there was no canary"
    assert set_shadow(paths, None) == "no shadow"
    with pytest.raises(UserFault, match="has no version 9"):
        set_canary(paths, 0.5, "9")
    with pytest.raises(UserFault, match="is the champion"):
        set_shadow(paths, "1")


def test_versions_that_are_wanted_no_more_are_forgotten(follower: tuple[Desk, Follower, Stock, list[str]]) -> None:
    desk, following, stock, _ = follower
    versions = [_register(desk, seed) for seed in (1, 2, 3)]
    for version in versions:
        desk.registry.set_alias("champion", version.number)
        following.look()
    assert {one.number for one in stock.held()} == {"2", "3"}, "the last one is kept for the way back"
    kept = {folder.name for folder in desk.paths.served_models.iterdir()}
    assert kept == {versions[1].digest, versions[2].digest}


def test_a_version_that_was_closed_is_out_of_memory_without_waiting_for_the_collector(
    follower: tuple[Desk, Follower, Stock, list[str]],
) -> None:
    desk, following, stock, _ = follower
    versions = [_register(desk, seed) for seed in (1, 2, 3)]
    gc.disable()
    try:
        desk.registry.set_alias("champion", versions[0].number)
        following.look()
        model = weakref.ref(cast("Policy", stock.held()[0].backend).model)
        for version in versions[1:]:
            desk.registry.set_alias("champion", version.number)
            following.look()
        wait_until(lambda: model() is None)
        assert {one.number for one in stock.held()} == {versions[1].number, versions[2].number}
    finally:
        gc.enable()


def test_faults_of_the_command_are_one_line(served_project: Paths) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "flows.cli", "serve", "--host", "0.0.0.0"],
        cwd=served_project.root,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 1
    assert told.stderr.startswith("qanat: --host: ")
    assert len(told.stderr.splitlines()) == 1
