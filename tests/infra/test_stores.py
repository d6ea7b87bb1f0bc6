"""Everything that is kept, in Postgres and S3 instead of files: by the same code, chosen by the environment."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from real_stores import S3
from sqlalchemy import create_engine, inspect

from flows import stores
from flows.shared import prefect_server
from flows.shared.ledger import Ledger, PromotionLost
from flows.shared.ledger_records import Intent
from flows.shared.paths import Paths
from flows.shared.process import alone
from flows.shared.registry import Registry

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("password")


def database(port: int, name: str, driver: str = "psycopg2") -> str:
    return f"postgresql+{driver}://qanat@127.0.0.1:{port}/{name}"


def test_of_two_promotions_at_once_postgres_lets_one_begin(postgres: int) -> None:
    ledgers = [Ledger(database(postgres, "ledger"), "race") for _ in range(4)]
    ledgers[0].found("1", "digest")
    begun: list[str] = []
    lost: list[str] = []

    def begin(ledger: Ledger, target: str) -> None:
        try:
            begun.append(ledger.begin(Intent("promote", "1", target, f"digest {target}", "a", "better")))
        except PromotionLost as error:
            lost.append(str(error))

    threads = [threading.Thread(target=begin, args=(one, str(2 + n))) for n, one in enumerate(ledgers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(begun), len(lost)) == (1, 3)
    assert ledgers[1].advance(begun[0], "INTENT", "DONE", lambda: {})
    assert ledgers[2].champion() in {"2", "3", "4", "5"}
    assert ledgers[3].faults() == ()
    for ledger in ledgers:
        ledger.close()


def test_an_effect_that_fails_leaves_nothing_in_postgres(postgres: int) -> None:
    ledger = Ledger(database(postgres, "ledger"), "failing")
    ledger.found(None, "")
    begun = ledger.begin(Intent("promote", None, "1", "digest", "a", "first"))

    def fail() -> dict[str, str]:
        raise OSError("the registry is down")

    with pytest.raises(OSError, match="down"):
        ledger.advance(begun, "INTENT", "ALIAS_SET", fail)
    left = ledger.open_promotion()
    assert left is not None
    assert left.state == "INTENT"
    assert len(ledger.entries()) == 1
    ledger.close()


def test_models_are_registered_in_postgres_and_kept_in_s3(
    postgres: int, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database(postgres, "mlflow"))
    monkeypatch.setenv("QANAT_ARTIFACTS_URI", "s3://qanat-mlflow")
    paths = _project(tmp_path)
    assert {store.name: store.fault for store in stores.stores(paths, make=True)}["artifacts"] is None
    payload = tmp_path / "model"
    payload.mkdir()
    (payload / "config.json").write_text("{}")
    registry = Registry(paths, experiment="in-s3", model="in-s3")
    run = registry.open_run("clone", run_id=None, tags={"stage": "clone"})
    registry.log_metrics(run, {"loss/decision": 0.5}, 0)
    version = registry.register(payload, run_id=run, tags={"payload.sha256": "d"})
    registry.set_alias("champion", version.number)
    found = registry.alias("champion")
    assert found is not None
    folder = registry.folder(found)
    assert (folder / "config.json").read_text() == "{}"
    assert not folder.is_relative_to(paths.store), "it came from the project's own files"
    registry.close_run(run, status="FINISHED")
    seconds = registry.run_seconds(run)
    assert seconds is not None
    assert seconds >= 0


def test_a_store_that_is_restarted_is_waited_for(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("QANAT_ARTIFACTS_URI", "s3://qanat-mlflow")
    paths = _project(tmp_path)
    assert not [store.fault for store in stores.stores(paths, make=True) if store.fault]
    payload = tmp_path / "model"
    payload.mkdir()
    (payload / "config.json").write_text("{}")
    registry = Registry(paths, experiment="restarted", model="restarted")
    run = registry.open_run("clone", run_id=None, tags={})
    s3.stop()
    back = threading.Timer(3, s3.start_again)
    back.start()
    version = registry.register(payload, run_id=run, tags={})
    back.join()
    assert (registry.folder(version) / "config.json").read_text() == "{}"


def test_prefect_keeps_its_runs_in_postgres(postgres: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = database(postgres, "prefect", "asyncpg")
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", address)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    paths = _project(tmp_path)
    with alone(paths.serving) as groups:
        _, url = prefect_server.start(paths, groups, port=prefect_server.free_port())
        assert prefect_server.is_healthy(url)
    engine = create_engine(database(postgres, "prefect"))
    assert {"flow_run", "deployment", "work_pool"} <= set(inspect(engine).get_table_names())
    engine.dispose()
    assert not list((tmp_path / "prefect").rglob("*.db"))


def test_data_go_to_an_s3_remote_and_come_back(s3: S3, tmp_path: Path) -> None:
    paths = _project(tmp_path)
    (paths.data / "annotations").mkdir(parents=True)
    (paths.data / "annotations" / "a.jsonl").write_text('{"a": 1}\n')
    shutil.copy(ROOT / "infra" / "dvc.s3.config", tmp_path / ".dvc" / "config.local")
    assert {store.name: store.fault for store in stores.stores(paths, make=True)}["dvc store"] is None
    _dvc(tmp_path, "add", "-q", "data/annotations")
    _dvc(tmp_path, "push", "-q")
    shutil.rmtree(tmp_path / ".dvc" / "cache")
    shutil.rmtree(paths.data / "annotations")
    _dvc(tmp_path, "pull", "-q")
    assert (paths.data / "annotations" / "a.jsonl").read_text() == '{"a": 1}\n'


def test_a_store_that_does_not_answer_is_told_with_its_reason(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = prefect_server.free_port()
    monkeypatch.setenv("QANAT_LEDGER_URI", f"postgresql+psycopg2://qanat:hidden@127.0.0.1:{gone}/ledger")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{gone}")
    monkeypatch.setenv("QANAT_ARTIFACTS_URI", "s3://qanat-mlflow/deep")
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{gone}/api")
    found = {store.name: store for store in stores.stores(_project(tmp_path), make=False)}
    assert found.keys() == {"ledger", "mlflow", "artifacts", "prefect"}
    assert all(store.fault for store in found.values())
    assert "hidden" not in "".join(store.line for store in found.values())
    assert "`qanat stores --make` creates it" in str(found["artifacts"].fault)


def test_files_of_the_project_are_stores_that_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QANAT_LEDGER_URI", "MLFLOW_TRACKING_URI", "QANAT_ARTIFACTS_URI", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    found = list(stores.stores(_project(tmp_path), make=False))
    assert [(store.name, store.fault) for store in found] == [("ledger", None), ("mlflow", None), ("artifacts", None)]


def _project(root: Path) -> Paths:
    (root / "dvc.yaml").write_text("stages: {}\n")
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    return Paths(root)


def _dvc(root: Path, *words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "dvc", *words], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
