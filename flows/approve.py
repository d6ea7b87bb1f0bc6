"""A person's word on a verdict that waits. Takes version, name and reason; gives the decision and lines to print."""

from __future__ import annotations

from components.schema.report import PromotionDecision
from flows.shared.approvals import Waiting, complete, waiting
from flows.shared.notices import tell
from flows.shared.notify import Notice
from flows.shared.paths import Paths
from flows.shared.promoting import open_desk


def settle(paths: Paths, number: str, *, approved: bool, by: str, why: str) -> PromotionDecision:
    """Complete what waits; those who asked for it are told of a promotion."""
    decision = complete(open_desk(paths), number, approved=approved, by=by, why=why)
    if decision.promoted:
        tell(paths, Notice("promoted", f"version {number} is champion", f"Approved by {by}: {why}"))
    return decision


def waiting_lines(paths: Paths) -> list[str]:
    """What waits, with what a reviewer needs: the reason, the differences, the report."""
    return [line for one in waiting(paths) for line in _lines(one)]


def _lines(one: Waiting) -> list[str]:
    verdict = one.verdict
    differences = [
        f"  {name:<28} {figure.value:+.4f} [{figure.low:+.4f}, {figure.high:+.4f}]"
        for name, figure in verdict.differences.items()
    ]
    head = f"Waits for approval: version {one.version} against {verdict.champion}. {verdict.reason}"
    how = f"  qanat approve {one.version} --why ...   or   qanat reject {one.version} --why ..."
    return [head, *differences, f"  report: {one.report}", how]
