"""Every hash of the lineage, computed again: which links hold, which are broken, which cannot be checked any more.

Takes the sources; gives one `Check` a link. A payload is hashed against its MANIFEST, that against the version's tag;
data on disk and in DVC's cache against `dvc.lock`; the gate's report against its tag; the ledger along its chain; and
commits must exist. Changes nothing and mends nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from components.records.manifest import BadModelFolder, verify_manifest
from flows.shared.by_hand import digest_of
from flows.shared.git import subject_of
from flows.shared.inputs import dvc_hash
from flows.shared.lineage_locks import Lock, cached, listing, md5_of, read_reference
from flows.shared.lineage_sources import Sources
from flows.shared.registry import Version

Verdict = Literal["ok", "broken", "gone"]
"""`gone`: what the hash is of is neither here nor in the cache, so nothing can be said."""


@dataclass(frozen=True, slots=True)
class Check:
    """One link."""

    link: str
    verdict: Verdict
    says: str = ""
    """What is wrong, or why nothing can be said."""


def verify(sources: Sources) -> Iterator[Check]:
    """Every link, checked one after another."""
    for lock in sources.locks:
        yield from _lock_checks(sources, lock)
    for version in sources.registry.versions() if sources.registry is not None else ():
        yield from _version_checks(sources, version)
    yield from _ledger_checks(sources)


def _lock_checks(sources: Sources, lock: Lock) -> Iterator[Check]:
    """What the stages left, on disk (of the desk's own lock) or in the cache; each output only once."""
    desk = lock.file == sources.paths.dvc_lock
    where = lock.file.parent if lock.file.name == "dvc.lock" else None
    for stage in lock.stages:
        for path, md5 in lock.outs(stage).items():
            link = f"{stage} -> {path} {md5[:12]} ({'dvc.lock' if desk else lock.file.parent.name})"
            on_disk = None if where is None else where / path
            if on_disk is not None and on_disk.exists():
                found = dvc_hash(on_disk)
                yield Check(link, "ok") if found == md5 else Check(link, "broken", f"{path} has md5 {found}")
            else:
                yield _cache_check(sources, link, md5)
        yield from _input_checks(sources, lock, stage)
        if any(path.endswith(f"runs/{stage}.json") for path in lock.outs(stage)):
            yield _commit_check(sources, lock, stage)


def _input_checks(sources: Sources, lock: Lock, stage: str) -> Iterator[Check]:
    """What a stage read must be what another left, or data that DVC still has."""
    for path, md5 in lock.data(stage).items():
        link = f"{path} {md5[:12]} -> {stage}"
        maker = lock.maker(path) or next((one for one in lock.stages if _made_inside(lock, one, path)), None)
        if maker is None:
            on_disk = lock.file.parent / path
            as_read = on_disk.exists() and dvc_hash(on_disk) == md5
            yield Check(link, "ok") if as_read else _cache_check(sources, link, md5)
        elif path in lock.outs(maker) and lock.outs(maker)[path] != md5:
            says = f"{maker} left {lock.outs(maker)[path][:12]}: {stage} has not run since"
            yield Check(link, "broken", says)
        else:
            yield Check(link, "ok")


def _made_inside(lock: Lock, stage: str, path: str) -> bool:
    """Whether the path lies in an output folder of the stage."""
    return any(path.startswith(f"{out}/") for out in lock.outs(stage))


def _cache_check(sources: Sources, link: str, md5: str) -> Check:
    """Hash the cache's object and, of a folder, the files in it."""
    file = cached(sources.paths, md5)
    if not file.is_file():
        return Check(link, "gone", "neither on disk nor in DVC's cache")
    if md5_of(file) != md5.removesuffix(".dir"):
        return Check(link, "broken", f"DVC's cache object {md5[:12]} has another content")
    for name, digest in listing(sources.paths, md5):
        member = cached(sources.paths, digest)
        if not member.is_file():
            return Check(link, "gone", f"{name} is not in DVC's cache")
        if md5_of(member) != digest:
            return Check(link, "broken", f"{name} in DVC's cache has another content")
    return Check(link, "ok")


def _commit_check(sources: Sources, lock: Lock, stage: str) -> Check:
    reference = read_reference(sources.paths, lock, stage)
    sha, link = str(reference.get("git_sha", "")), f"{stage} -> commit"
    if not sha:
        return Check(link, "gone", "its run reference is not left")
    return _commit(sources, f"{link} {sha[:12]}", sha)


def _commit(sources: Sources, link: str, sha: str) -> Check:
    known = subject_of(sources.paths.root, sha) is not None
    return Check(link, "ok") if known else Check(link, "broken", "this repository has no such commit")


# --- versions ---------------------------------------------------------------------------------------------------------


def _version_checks(sources: Sources, version: Version) -> Iterator[Check]:
    name = f"version {version.number}"
    yield _payload_check(sources, version, name)
    yield from _tag_checks(sources, version, name)
    if version.tags.get("git.sha"):
        yield _commit(sources, f"{name} -> commit {version.tags['git.sha'][:12]}", version.tags["git.sha"])
    report = version.tags.get("gate.report.sha256")
    if report is not None:
        yield _report_check(sources, version, f"{name} -> gate's report {report[:12]}", report)


def _payload_check(sources: Sources, version: Version, name: str) -> Check:
    assert sources.registry is not None
    link = f"{name} -> payload {version.digest[:12]}"
    if not version.digest:
        return Check(link, "gone", "it was registered without a digest")
    try:
        digest = verify_manifest(sources.registry.folder(version))
    except BadModelFolder as error:
        return Check(link, "broken", str(error))
    except OSError as error:
        return Check(link, "gone", f"the payload cannot be read: {error}")
    return Check(link, "ok") if digest == version.digest else Check(link, "broken", f"its manifest says {digest[:12]}")


def _tag_checks(sources: Sources, version: Version, name: str) -> Iterator[Check]:
    """The version's data hashes against the lock that it was made under."""
    digest = version.tags.get("dvc.lock.sha256", "")
    lock = next((one for one in sources.locks if one.digest == digest), None)
    link = f"{name} -> dvc.lock {digest[:12]}"
    if lock is None:
        yield Check(link, "gone", "no dvc.lock with this hash is left")
        return
    yield Check(link, "ok")
    known = {path: md5 for stage in lock.stages for path, md5 in (lock.data(stage) | lock.outs(stage)).items()}
    for tag, md5 in sorted(version.tags.items()):
        path = f"data/{tag.removeprefix('data.').removesuffix('.md5')}"
        if tag.startswith("data.") and path in known:
            told = f"{name} -> {path} {md5[:12]}"
            yield Check(told, "ok") if known[path] == md5 else Check(told, "broken", f"its dvc.lock says {known[path]}")


def _report_check(sources: Sources, version: Version, link: str, digest: str) -> Check:
    assert sources.registry is not None
    text = sources.registry.read_text(version.run_id, "gate.json")
    if text is None:
        return Check(link, "gone", "the report is not kept with its run")
    try:
        found = digest_of(json.loads(text))
    except json.JSONDecodeError:
        return Check(link, "broken", "the report is no JSON")
    return Check(link, "ok") if found == digest else Check(link, "broken", f"the report has sha256 {found[:12]}")


def _ledger_checks(sources: Sources) -> Iterator[Check]:
    if sources.ledger is None:
        return
    faults = sources.ledger.faults()
    yield from (Check("ledger", "broken", fault) for fault in faults)
    if not faults:
        yield Check(f"ledger of {len(sources.ledger.entries())} rows", "ok")
