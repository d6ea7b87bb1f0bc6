"""Verdicts that wait for a person: a small file each, so that no trainer and no process has to wait.

Takes a desk and the gate's verdict; gives what waits, and completes it through the promotion that would have been made
without asking. A verdict over another champion than the present one is refused: it says nothing any
more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from components.records.jsonl import read_records, write_records
from components.schema.report import GateResult, PromotionDecision
from flows.shared import promotion
from flows.shared.by_hand import APPROVAL
from flows.shared.decisions import write_decision
from flows.shared.faults import UserFault
from flows.shared.paths import Paths
from flows.shared.promoting import Desk, carry_out
from flows.shared.registry import Version


class NothingWaits(UserFault):
    """No verdict over that version waits, or it may not be completed."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A version that the gate would promote."""

    version: str
    root: str
    """The folder that it was trained in: its report and its `dvc.lock`."""
    champion: str | None
    """Digest of the champion that the gate compared with."""
    verdict: GateResult

    @property
    def report(self) -> Path:
        """What a reviewer reads."""
        return Paths(Path(self.root)).evaluation_html


def wait(desk: Desk, version: Version, verdict: GateResult) -> PromotionDecision:
    """Keep the verdict for a person; nothing is promoted, unless it was rejected before: then it stays rejected."""
    alias = desk.settings.aliases.champion
    decision = PromotionDecision(desk.registry.model, version.number, False, alias, verdict)
    if not version.tags.get(APPROVAL, "").startswith("rejected"):
        champion = desk.champion()
        digest = champion.digest if champion else None
        one = Waiting(version.number, str(desk.paths.root), digest, verdict)
        write_records(_file(desk.paths, version.number), [one])
    write_decision(desk.paths, decision)
    return decision


def waiting(paths: Paths) -> tuple[Waiting, ...]:
    """Everything that waits, the oldest version first."""
    files = sorted(paths.approvals.glob("*.jsonl"), key=lambda file: int(file.stem))
    return tuple(read_records(file, Waiting)[0] for file in files)


def complete(desk: Desk, number: str, *, approved: bool, by: str, why: str) -> PromotionDecision:
    """Promote what waits, or reject it; the version, and with it the ledger, keeps who said so and why."""
    one = _waiting(desk.paths, number)
    carry_out(desk, wait=False)  # what a dead process left half done comes first: it may change the champion
    if approved:
        _require_same_champion(desk, one)
    verdict = one.verdict if approved else replace(one.verdict, decision="reject", reason=f"Rejected by {by}: {why}")
    desk.registry.tag_version(number, {APPROVAL: f"{'approved' if approved else 'rejected'} by {by}: {why}"[:4900]})
    there = replace(desk, paths=Paths(Path(one.root)))  # the decision is about the data that it was trained on
    decision = promotion.promote(there, desk.registry.version(number), verdict, by=by)
    _file(desk.paths, number).unlink()
    return decision


def _waiting(paths: Paths, number: str) -> Waiting:
    found = [one for one in waiting(paths) if one.version == number]
    if not found:
        names = ", ".join(one.version for one in waiting(paths)) or "none"
        raise NothingWaits(f"no verdict over version {number} waits for approval (waiting: {names})")
    return found[0]


def _require_same_champion(desk: Desk, one: Waiting) -> None:
    champion = desk.champion()
    if (champion.digest if champion else None) != one.champion:
        now = f"version {champion.number}" if champion else "none"
        raise NothingWaits(
            f"version {one.version} was compared with {one.verdict.champion}, the champion is {now} now: "
            "`qanat promote` gates it again"
        )


def _file(paths: Paths, number: str) -> Path:
    return paths.approvals / f"{number}.jsonl"
