"""The gate: may the challenger replace the champion?

Takes the rows of both on the same problems, and how many challengers were compared on them before; gives a verdict
with the paired differences behind it. The rule is "superior, or cheaper and not inferior", at the share of alpha that
this look may spend, under guards on invalid calls, unsafe calls, the tails of cost and seconds, and every slice. Does
not play, load models or move aliases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from components.evaluation.bootstrap import Floats
from components.evaluation.guards import guards, percentiles, points
from components.evaluation.paired import ACCURACY, COST, Difference, Pairs, by_interval, paired_differences
from components.evaluation.rows import EvalRow
from components.evaluation.settings import GateSettings
from components.evaluation.spending import alpha_of
from components.schema.identity import stable_hash
from components.schema.report import GateResult, Guard, Interval

Decision = Literal["promote", "reject", "inconclusive"]
Verdict = tuple[Decision, str]
MINIMUM_GROUPS = 10
"""Fewer groups of problems tell nothing: cluster-robust errors need clusters (Cameron & Miller 2015, section VI)."""


def decide(
    challenger_rows: Sequence[EvalRow],
    champion_rows: Sequence[EvalRow],
    settings: GateSettings,
    *,
    challenger: str = "challenger",
    champion: str = "champion",
    look: int = 1,
    student_rows: Sequence[EvalRow] = (),
) -> GateResult:
    """The verdict; rows that are not of the same problems are an error."""
    pairs = Pairs.of(challenger_rows, champion_rows)
    alpha = alpha_of(look, looks=settings.looks, spending=settings.spending, alpha=settings.alpha)
    found = paired_differences(pairs)
    differences = by_interval(found) | percentiles(pairs, settings)
    held = guards(pairs, differences, settings, student_rows)
    tested = {name: found[name].interval(alpha) for name in (ACCURACY, COST) if alpha > 0 and name in found}
    decision, reason = _verdict(found, tested, held, settings, look)
    return GateResult(
        decision=decision,
        reason=reason,
        challenger=challenger,
        champion=champion,
        differences=differences,
        tested=tested,
        guards=held,
        look=look,
        alpha=alpha,
        problems=problem_set(challenger_rows),
    )


def problem_set(rows: Sequence[EvalRow]) -> str:
    """Digest of the problems that these rows are of."""
    return stable_hash(sorted(row.problem_id for row in rows))


def is_superior(accuracy_low: Floats) -> NDArray[np.bool_]:
    """Elementwise: the gain is clear of zero."""
    return np.asarray(accuracy_low) > 0


def is_cheaper(accuracy_low: Floats, cost_high: Floats, margin: float) -> NDArray[np.bool_]:
    """Elementwise: the cost falls, and no more accuracy than the margin is lost."""
    return (np.asarray(accuracy_low) >= -margin) & (np.asarray(cost_high) < 0)


def _verdict(
    found: Mapping[str, Difference],
    tested: Mapping[str, Interval],
    held: Sequence[Guard],
    settings: GateSettings,
    look: int,
) -> Verdict:
    if ACCURACY not in found:
        return "inconclusive", "No problem could be scored for both models."
    broken = [guard.reason for guard in held if guard.state == "broken"]
    if broken:
        return "reject", "Guard broken: " + "; ".join(broken) + "."
    if found[ACCURACY].estimate.clusters < MINIMUM_GROUPS:
        return "inconclusive", f"Fewer than {MINIMUM_GROUPS} groups of problems: nothing can be told."
    decision, reason = _rule(found[ACCURACY].interval(), tested, settings, look)
    unsure = [guard.reason for guard in held if guard.state == "unsure"]
    if decision == "promote" and unsure:
        return "inconclusive", f"{reason} But: {'; '.join(unsure)}."
    return decision, reason


def _rule(accuracy: Interval, tested: Mapping[str, Interval], settings: GateSettings, look: int) -> Verdict:
    if accuracy.high < 0:
        return "reject", f"Less accurate: {points(accuracy)}."
    if not tested:
        return "inconclusive", (
            f"These problems were used by {look - 1} challengers of this champion, {settings.looks} are allowed: "
            "take fresh test problems."
        )
    gain, cost = tested[ACCURACY], tested[COST]
    figures = (
        f"accuracy {points(gain)}, cost {cost.value:+.3f} ({cost.low:+.3f} to {cost.high:+.3f}) units per problem, "
        f"look {look} of {settings.looks}"
    )
    if is_superior(np.asarray(gain.low)):
        return "promote", f"Superior: {figures}."
    if is_cheaper(np.asarray(gain.low), np.asarray(cost.high), settings.accuracy_margin):
        return "promote", f"Cheaper and not inferior by more than {100 * settings.accuracy_margin:g} points: {figures}."
    return "inconclusive", f"Neither superior nor shown to be cheaper without loss: {figures}."
