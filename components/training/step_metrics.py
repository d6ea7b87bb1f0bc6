"""What a reinforcement step looked like. Takes trajectories, groups and decisions; gives metrics by name. No model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from components.schema.group import Group
from components.schema.trajectory import ANSWER, Trajectory


def part_metrics(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """`reward/PART`, the mean over the trajectories that have it, and `rollout/unscored_PART`, how many have not."""
    recorded = [t.outcome.reward_parts or {} for t in trajectories]
    metrics: dict[str, float] = {}
    for name in dict.fromkeys(name for parts in recorded for name in parts):
        known = [value for parts in recorded if (value := parts.get(name)) is not None]
        metrics[f"rollout/unscored_{name}"] = float(len(recorded) - len(known))
        if known:
            metrics[f"reward/{name}"] = sum(known) / len(known)
    return metrics


def decision_metrics(groups: Sequence[Group], probs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Rates of roots whose likeliest decision is a call, over all and by family, and the mean entropy in nats.

    `probs`: P over decisions at the root of each group.
    """
    calls = [max(p, key=lambda d, p=p: p[d]) != ANSWER for p in probs]  # type: ignore[misc]
    metrics = {
        "rollout/call_rate": sum(calls) / max(1, len(calls)),
        "rollout/decision_entropy": sum(map(_entropy, probs)) / max(1, len(probs)),
    }
    for family, count in family_counts(groups).items():
        called = sum(call for call, group in zip(calls, groups, strict=True) if group.problem.family == family)
        metrics[f"rollout/call_rate_{family}"] = called / count
    for price in sorted({group.problem.price for group in groups if group.problem.price is not None}):
        told = [call for call, group in zip(calls, groups, strict=True) if group.problem.price == price]
        metrics[f"rollout/call_rate_at_{price:g}"] = sum(told) / len(told)
    recall = _call_recall(groups, calls)
    return metrics if recall is None else metrics | {"rollout/call_recall": recall}


def _call_recall(groups: Sequence[Group], calls: Sequence[bool]) -> float | None:
    """Of the roots where the direct answer is wrong and a call makes it right, the share at which a call is likeliest;
    None where no such root was judged."""
    needed = [call for call, group in zip(calls, groups, strict=True) if _call_needed(group)]
    return sum(needed) / len(needed) if needed else None


def _call_needed(group: Group) -> bool:
    direct = [t.outcome.success for t in group.trajectories if t.forced[0] == ANSWER]
    return False in direct and any(t.outcome.success for t in group.trajectories if t.forced[0] != ANSWER)


def family_counts(groups: Sequence[Group]) -> Mapping[str, int]:
    """Problems of each family."""
    return Counter(group.problem.family for group in groups)


def _entropy(probs: Mapping[str, float]) -> float:
    return -sum(p * math.log(p) for p in probs.values() if p > 0)
