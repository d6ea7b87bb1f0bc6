"""The whole lineage of a project, read from what is there: MLflow, the ledger, `dvc.lock` files, run references, DVC's
cache, git, annotation files and the log of served responses.

Takes the project's paths; gives a `Lineage`. A source that is missing makes the chain shorter, never wrong: a link is
made only where an id or a hash on one side equals one on the other. Writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.records.lines import read_lines
from components.records.manifest import BadModelFolder, read_manifest
from flows.shared.environ import ledger_uri, tracking_uri
from flows.shared.git import subject_of
from flows.shared.ledger import Ledger
from flows.shared.lineage_graph import Item, Lineage
from flows.shared.lineage_locks import Lock, cached, listing, md5_of, read_locks, read_reference
from flows.shared.paths import Paths
from flows.shared.registry import Registry, RunRecord, Version
from flows.shared.registry_settings import RegistrySettings, load_registry_settings


@dataclass(frozen=True, slots=True)
class Sources:
    """What lineage is read from."""

    paths: Paths
    settings: RegistrySettings
    registry: Registry | None
    """None where there is no store yet."""
    ledger: Ledger | None
    """None where nothing was ever promoted through it."""
    locks: tuple[Lock, ...]


def open_sources(paths: Paths) -> Sources:
    """The sources that exist; none is created."""
    settings = load_registry_settings(paths)
    new_store = tracking_uri(paths) == f"sqlite:///{paths.mlflow_db}" and not paths.mlflow_db.is_file()
    new_ledger = ledger_uri(paths) == f"sqlite:///{paths.ledger_db}" and not paths.ledger_db.is_file()
    return Sources(
        paths,
        settings,
        None if new_store else Registry(paths, experiment=settings.experiment, model=settings.model),
        None if new_ledger else Ledger(ledger_uri(paths), settings.model),
        tuple(read_locks(paths)),
    )


def read_lineage(sources: Sources, *, annotation: str | None = None) -> Lineage:
    """Everything that is known; one annotation of the thousands is in it when it is asked for."""
    graph = Lineage()
    runs = {run.run_id: run for run in sources.registry.runs()} if sources.registry else {}
    for lock in sources.locks:
        _add_lock(graph, sources, lock, runs)
    for run in runs.values():
        _add_run(graph, sources, run.run_id, run)
    if sources.registry is not None:
        for version in sources.registry.versions():
            _add_version(graph, sources, version)
    _add_promotions(graph, sources)
    _add_responses(graph, sources)
    _add_annotations(graph, sources, annotation)
    return graph


# --- stages, runs and data --------------------------------------------------------------------------------------------


def _add_lock(graph: Lineage, sources: Sources, lock: Lock, runs: Mapping[str, RunRecord]) -> None:
    for stage in lock.stages:
        run = _run_of_stage(graph, sources, lock, stage, runs)
        for path, md5 in lock.data(stage).items():
            graph.link(run, _data(graph, sources, path, md5))
        for path, md5 in lock.outs(stage).items():
            graph.link(_data(graph, sources, path, md5), run)


def _run_of_stage(graph: Lineage, sources: Sources, lock: Lock, stage: str, runs: Mapping[str, RunRecord]) -> Item:
    """The MLflow run that made the stage's outputs; where no reference is left, the stage itself."""
    reference = read_reference(sources.paths, lock, stage)
    run_id = str(reference.get("mlflow_run_id", f"{stage}@{lock.digest[:12]}"))
    facts = {"stage": stage, **{name: str(value) for name, value in reference.items() if name in _TOLD}}
    item = graph.add(Item("run", run_id, facts))
    _add_commit(graph, sources, item, str(reference.get("git_sha", "")))
    if run_id in runs:
        _add_run(graph, sources, run_id, runs[run_id])
    return item


_TOLD = ("seed", "profile", "git_dirty")


def _data(graph: Lineage, sources: Sources, path: str, md5: str) -> Item:
    key = f"{path}@{md5}"
    if f"data {key}" in graph.items:
        return graph.items[f"data {key}"]
    # annotation files are things of their own
    own = path == sources.paths.annotations.relative_to(sources.paths.root).as_posix()
    members = () if own else tuple(digest for _, digest in listing(sources.paths, md5))
    return graph.add(Item("data", key, {"path": path, "md5": md5}), md5, *members)


def _add_run(graph: Lineage, sources: Sources, run_id: str, run: RunRecord) -> Item:
    facts = {"name": run.name, "status": run.status}
    if "version" in run.tags:
        facts["code"] = run.tags["version"]
    item = graph.add(Item("run", run_id, facts))
    _add_commit(graph, sources, item, run.tags.get("git.sha", ""))
    _add_flow_run(graph, item, run.tags.get("prefect.flow_run_id", ""))
    return item


def _add_commit(graph: Lineage, sources: Sources, effect: Item, sha: str) -> None:
    if not sha or sha == "unknown":
        return
    key = f"commit {sha}"
    if key not in graph.items:
        subject = subject_of(sources.paths.root, sha)
        graph.add(Item("commit", sha, {"subject": subject if subject is not None else "not in this repository"}))
    graph.link(effect, graph.items[key])


def _add_flow_run(graph: Lineage, effect: Item, flow_run_id: str) -> None:
    if flow_run_id and flow_run_id != "none":
        graph.link(effect, graph.add(Item("flow run", flow_run_id)))


# --- versions, gates, promotions, aliases -----------------------------------------------------------------------------


def _add_version(graph: Lineage, sources: Sources, version: Version) -> None:
    assert sources.registry is not None
    tags, model = version.tags, sources.settings.model
    facts = {"model": model, "payload sha256": version.digest}
    if "parent.version" in tags:
        facts["replaced version"] = tags["parent.version"]
    names = (f"{model}:{version.number}", version.digest, tags.get("dvc.lock.sha256", ""))
    item = graph.add(Item("version", version.number, facts), *filter(None, names), *_files_of(sources, version))
    lock = next((one for one in sources.locks if one.digest == tags.get("dvc.lock.sha256")), None)
    if "gate.decision" in tags:
        graph.link(item, _gate(graph, sources, version, lock))
    _link_payload(graph, sources, item, version, lock)
    _add_commit(graph, sources, item, tags.get("git.sha", ""))
    _add_flow_run(graph, item, tags.get("prefect.flow_run_id", ""))


def _link_payload(graph: Lineage, sources: Sources, item: Item, version: Version, lock: Lock | None) -> None:
    """The weights in their lock where it is left; else the run that made them, and the data that the tags name."""
    payload = sources.settings.payload
    maker = lock.maker(payload) if lock is not None else None
    if lock is not None and maker is not None:
        graph.link(item, _data(graph, sources, payload, lock.outs(maker)[payload]))
        return
    if version.run_id:
        graph.link(item, graph.add(Item("run", version.run_id)))
    for tag, md5 in sorted(version.tags.items()):
        if tag.startswith("data.") and tag.endswith(".md5"):
            path = f"data/{tag.removeprefix('data.').removesuffix('.md5')}"
            graph.link(item, _data(graph, sources, path, md5))


def _gate(graph: Lineage, sources: Sources, version: Version, lock: Lock | None) -> Item:
    """The verdict, and the evaluation and comparisons that it rests on."""
    told = ("decision", "reason", "champion", "look", "report.sha256")
    facts = {name: version.tags[f"gate.{name}"] for name in told if f"gate.{name}" in version.tags}
    gate = graph.add(Item("gate", f"of version {version.number}", facts), *filter(None, [facts.get("report.sha256")]))
    for role in ("challenger", "champion"):
        run_id = version.tags.get(f"gate.run.{role}")
        if run_id:
            graph.link(gate, graph.add(Item("run", run_id, {"gate": role})))
    evaluation = sources.paths.evaluation.relative_to(sources.paths.root).as_posix()
    maker = lock.maker(evaluation) if lock is not None else None
    if lock is not None and maker is not None:
        graph.link(gate, _data(graph, sources, evaluation, lock.outs(maker)[evaluation]))
    return gate


def _files_of(sources: Sources, version: Version) -> list[str]:
    """sha256 of every file of the payload; none where it is not on this machine."""
    assert sources.registry is not None
    try:
        manifest = read_manifest(sources.registry.folder(version))
    except (BadModelFolder, OSError):
        return []
    return [str(row["sha256"]) for row in manifest["files"].values()]


def _add_promotions(graph: Lineage, sources: Sources) -> None:
    """Promotions from the ledger; aliases as MLflow has them, through the promotion that set them."""
    last: dict[str, Item] = {}
    targets: dict[str, str] = {}
    for entry in sources.ledger.entries() if sources.ledger is not None else ():
        item = graph.add(Item("promotion", entry.promotion_id, {"state": entry.state, "at": entry.at}))
        if "target" in entry.body:
            targets[entry.promotion_id] = str(entry.body["target"])
            told = {name: str(entry.body[name]) for name in ("kind", "by", "reason") if name in entry.body}
            item = graph.add(Item("promotion", entry.promotion_id, told))
            graph.link(item, graph.add(Item("version", targets[entry.promotion_id])))
        if entry.state == "DONE":
            last[targets[entry.promotion_id]] = item
    for alias, number in (sources.registry.aliases() if sources.registry is not None else {}).items():
        item = graph.add(Item("alias", alias, {"model": sources.settings.model}))
        champion = alias == sources.settings.aliases.champion
        graph.link(item, last[number] if champion and number in last else graph.add(Item("version", number)))


# --- served responses -------------------------------------------------------------------------------------------------


def _add_responses(graph: Lineage, sources: Sources) -> None:
    """Every response in the server's log, read leniently: the server appends while this reads."""
    for file in sorted(sources.paths.served_responses.glob("responses-*.jsonl")):
        for line in read_lines(file):
            row = _object(line.content)
            response_id, version = str(row.get("response_id") or ""), str(row.get("version") or "")
            if not response_id or not version:
                continue
            told = ("at", "channel", "finish", "digest", "question", "answer")
            facts = {name: str(row[name]) for name in told if row.get(name) is not None}
            response = graph.add(Item("response", response_id, facts))
            graph.link(response, graph.add(Item("version", version)))


# --- annotations ------------------------------------------------------------------------------------------------------


def _add_annotations(graph: Lineage, sources: Sources, wanted: str | None) -> None:
    """The files of every state of the annotations that something was made from, and of the present one."""
    paths = sources.paths
    folder = paths.annotations.relative_to(paths.root).as_posix()
    for state in [item for item in graph.items.values() if item.facts.get("path") == folder]:
        for name, md5 in listing(paths, state.facts["md5"]):
            file = _annotation_file(graph, cached(paths, md5), f"{folder}/{name}", md5, wanted)
            graph.link(state, file)
    for present in sorted(paths.annotations.glob("*.jsonl")):
        _annotation_file(graph, present, f"{folder}/{present.name}", md5_of(present), wanted)


def _annotation_file(graph: Lineage, content: Path, name: str, md5: str, wanted: str | None) -> Item:
    item = graph.add(Item("file", f"{name}@{md5}", {"path": name, "md5": md5}), name, md5)
    if "annotations" in item.facts or not content.is_file():
        return item
    count = 0
    found: dict[str, dict[str, Any]] = {}
    for line in read_lines(content):
        count += 1
        if wanted is not None and wanted.encode() in line.content:
            row = _object(line.content)
            if wanted in (row.get("annotation_id"), *_responses(row)):
                found[str(row.get("annotation_id"))] = row
    item = graph.add(Item("file", item.name, {"annotations": str(count)}))
    for annotation_id, row in found.items():
        told = ("kind", "annotator", "created", "prompt")
        facts = {key: str(row[key]) for key in told if key in row}
        annotation = graph.add(Item("annotation", annotation_id, facts))
        graph.link(item, annotation)
        for response_id in _responses(row):
            graph.link(annotation, graph.add(Item("response", response_id)))
    return item


def _responses(row: dict[str, Any]) -> list[str]:
    """The served answers that an annotation answers."""
    named = row.get("responses")
    return [one for one in named if isinstance(one, str)] if isinstance(named, list) else []


def _object(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
