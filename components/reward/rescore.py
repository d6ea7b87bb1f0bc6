"""Stored trajectories, scored again. Takes trajectories, a price sheet and weights; gives them with new costs and
rewards, and what that changed. Asks no model: scorer's readings and annotators' verdicts are those of the record.

Calls are charged anew by the name of their tool. A call that holds nested calls keeps its recorded cost: the record
does not say which tools they were.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from components.reward.parts import reward_parts, scored
from components.reward.settings import RewardSettings
from components.schema.cost import NO_COST, Cost
from components.schema.message import ToolResult
from components.schema.trajectory import Trajectory, Transition
from components.tools.prices import PriceSheet


def rescore(trajectory: Trajectory, *, prices: PriceSheet, settings: RewardSettings) -> Trajectory:
    """The trajectory under these prices and weights; a likelihood recorded without its readings stays as it is."""
    priced = reprice(trajectory, prices)
    parts = reward_parts(priced, prices=prices, settings=settings)
    if trajectory.outcome.evidence is None:
        parts["likelihood"] = (trajectory.outcome.reward_parts or {}).get("likelihood")
    return scored(priced, parts, settings)


def reprice(trajectory: Trajectory, prices: PriceSheet) -> Trajectory:
    """The trajectory with every call charged as the price sheet says."""
    transitions = tuple(_reprice(transition, prices) for transition in trajectory.transitions)
    spent = sum((transition.cost for transition in transitions), start=NO_COST)
    return replace(trajectory, transitions=transitions, outcome=replace(trajectory.outcome, cost=spent))


def _reprice(transition: Transition, prices: PriceSheet) -> Transition:
    call = transition.action.call
    if call is None or not transition.results:
        return transition
    results = tuple(
        result if is_nested(result) else replace(result, cost=prices.charge(call.name)) for result in transition.results
    )
    cost = sum((result.cost for result in results), start=_tokens(transition))
    return replace(transition, results=results, cost=cost)


def is_nested(result: ToolResult) -> bool:
    """Whether the result's cost holds more than the one call."""
    return result.cost.calls != 1


def _tokens(transition: Transition) -> Cost:
    """Tokens of the turn itself."""
    inside = sum((result.cost for result in transition.results), start=NO_COST)
    return Cost(
        prompt_tokens=transition.cost.prompt_tokens - inside.prompt_tokens,
        completion_tokens=transition.cost.completion_tokens - inside.completion_tokens,
    )


@dataclass(frozen=True, slots=True)
class Change:
    """One figure before and after."""

    name: str
    """`total`, or a reward part."""
    before: float | None
    """Mean over the trajectories that have it; None when none has."""
    after: float | None
    unscored: int
    """Trajectories that do not have it after."""
    changed: int
    """Trajectories whose figure is not what it was."""


@dataclass(frozen=True, slots=True)
class Rescored:
    """What scoring again changed."""

    trajectories: int
    changes: tuple[Change, ...]
    """The total first, then the parts."""
    groups: int
    """Problem and policy pairs with at least two trajectories that have a total before and after."""
    moved: int
    """Trajectories in such groups with another rank among them; equal rewards share a rank."""
    nested: int
    """Calls that kept their recorded cost."""


def compare(before: Sequence[Trajectory], after: Sequence[Trajectory]) -> Rescored:
    """The same trajectories before and after."""
    names = dict.fromkeys(name for one in (*after, *before) for name in one.outcome.reward_parts or ())
    pairs = list(zip(before, after, strict=True))
    parts = [_change(name, pairs, lambda one, name=name: _part(one, name)) for name in names]  # type: ignore[misc]
    groups = _groups(pairs)
    ranks = [(_ranks([old for old, _ in group]), _ranks([new for _, new in group])) for group in groups]
    return Rescored(
        trajectories=len(pairs),
        changes=(_change("total", pairs, total_of), *parts),
        groups=len(groups),
        moved=sum(old != new for before_, after_ in ranks for old, new in zip(before_, after_, strict=True)),
        nested=sum(is_nested(result) for one in after for t in one.transitions for result in t.results),
    )


def total_of(trajectory: Trajectory) -> float | None:
    """The reward as it stands on the transitions; None when it was not scored."""
    rewards = [transition.reward for transition in trajectory.transitions]
    return None if not rewards or rewards[-1] is None else sum(reward for reward in rewards if reward is not None)


def _part(trajectory: Trajectory, name: str) -> float | None:
    return (trajectory.outcome.reward_parts or {}).get(name)


def _change(
    name: str, pairs: Sequence[tuple[Trajectory, Trajectory]], figure: Callable[[Trajectory], float | None]
) -> Change:
    figures = [(figure(before), figure(after)) for before, after in pairs]
    return Change(
        name=name,
        before=_mean([old for old, _ in figures]),
        after=_mean([new for _, new in figures]),
        unscored=sum(new is None for _, new in figures),
        changed=sum(_differ(old, new) for old, new in figures),
    )


def _differ(old: float | None, new: float | None) -> bool:
    """Beyond rounding."""
    return old != new if old is None or new is None else abs(old - new) > 1e-12


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _groups(pairs: Sequence[tuple[Trajectory, Trajectory]]) -> list[list[tuple[float, float]]]:
    """Totals before and after, by problem and policy."""
    groups: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for old, new in pairs:
        before, after = total_of(old), total_of(new)
        if before is not None and after is not None:
            groups[old.problem_id, old.policy_id].append((before, after))
    return [group for group in groups.values() if len(group) > 1]


def _ranks(totals: Sequence[float]) -> list[int]:
    """How many of the others are better, beyond rounding."""
    return [sum(other > mine + 1e-9 for other in totals) for mine in totals]
