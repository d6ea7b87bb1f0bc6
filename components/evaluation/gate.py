"""The gate: may the challenger replace the champion?

Takes the rows of both on the same problems; gives a verdict with the paired differences behind it. The rule is
"superior, or cheaper and not inferior", under guards on invalid calls and on every slice. Does not play, load models
or move aliases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from components.evaluation.metrics import differences, evaluate_rows
from components.evaluation.rows import EvalRow
from components.evaluation.settings import GateSettings
from components.schema.report import GateResult, Interval

Decision = Literal["promote", "reject", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition that the rule does not weigh against anything."""

    state: Literal["holds", "unsure", "broken"]
    reason: str


def decide(
    challenger_rows: Sequence[EvalRow],
    champion_rows: Sequence[EvalRow],
    settings: GateSettings,
    *,
    challenger: str = "challenger",
    champion: str = "champion",
) -> GateResult:
    """The verdict; rows that are not of the same problems are an error."""
    _check_same_problems(challenger_rows, champion_rows)
    found = differences(
        challenger_rows, champion_rows, cost_weight=0.0, seed=settings.seed, resamples=settings.resamples
    )
    guards = [_invalid_guard(challenger_rows, found, settings), *_slice_guards(found, settings)]
    decision, reason = _verdict(found, guards, settings)
    return GateResult(decision=decision, reason=reason, challenger=challenger, champion=champion, differences=found)


def _verdict(found: Mapping[str, Interval], guards: Sequence[Guard], settings: GateSettings) -> tuple[Decision, str]:
    if "eval/accuracy" not in found:
        return "inconclusive", "No problem could be scored for both models."
    broken = [guard.reason for guard in guards if guard.state == "broken"]
    if broken:
        return "reject", "Guard broken: " + "; ".join(broken) + "."
    decision, reason = _rule(found["eval/accuracy"], found["eval/cost"], settings)
    unsure = [guard.reason for guard in guards if guard.state == "unsure"]
    if decision == "promote" and unsure:
        return "inconclusive", f"{reason} But: {'; '.join(unsure)}."
    return decision, reason


def _rule(accuracy: Interval, cost: Interval, settings: GateSettings) -> tuple[Decision, str]:
    figures = (
        f"accuracy {_points(accuracy)}, cost {cost.value:+.3f} ({cost.low:+.3f} to {cost.high:+.3f}) units per problem"
    )
    if accuracy.low > 0:
        return "promote", f"Superior: {figures}."
    if accuracy.low >= -settings.accuracy_margin and cost.high < 0:
        return "promote", f"Cheaper and not inferior by more than {100 * settings.accuracy_margin:g} points: {figures}."
    if accuracy.high < 0:
        return "reject", f"Less accurate: {figures}."
    return "inconclusive", f"Neither superior nor shown to be cheaper without loss: {figures}."


def _invalid_guard(challenger_rows: Sequence[EvalRow], found: Mapping[str, Interval], settings: GateSettings) -> Guard:
    rise = found.get("eval/invalid_rate")
    if rise is None:  # one side never calls: judge the challenger's own rate
        own = evaluate_rows("", challenger_rows, cost_weight=0.0, seed=settings.seed, resamples=settings.resamples)
        rise = own.metrics.get("eval/invalid_rate")
    if rise is None or rise.value <= settings.invalid_margin:
        return Guard("holds", "")
    reason = f"invalid calls rise by {_points(rise)}, allowed {100 * settings.invalid_margin:g}"
    return Guard("broken" if rise.low > settings.invalid_margin else "unsure", reason)


def _slice_guards(found: Mapping[str, Interval], settings: GateSettings) -> list[Guard]:
    worse = {
        name: value
        for name, value in found.items()
        if name.startswith("slice/")
        and value.n >= settings.minimum_slice_problems
        and value.high < -settings.slice_margin
    }
    return [
        Guard("broken", f"slice {name.split('/')[1]} loses {_points(value)}, allowed {100 * settings.slice_margin:g}")
        for name, value in worse.items()
    ]


def _points(value: Interval) -> str:
    return f"{100 * value.value:+.1f} points ({100 * value.low:+.1f} to {100 * value.high:+.1f})"


def _check_same_problems(a: Sequence[EvalRow], b: Sequence[EvalRow]) -> None:
    ours, theirs = {row.problem_id for row in a}, {row.problem_id for row in b}
    if ours != theirs:
        raise ValueError(
            f"the gate compares on the same problems: {len(ours - theirs)} were played by the challenger only, "
            f"{len(theirs - ours)} by the champion only"
        )
