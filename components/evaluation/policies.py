"""Which policies an evaluation plays, and which it compares.

Takes nothing; gives the plan: a policy is a model with, perhaps, its first decision forced. Does not load or play
anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from components.schema.trajectory import ANSWER


@dataclass(frozen=True, slots=True)
class Play:
    """One policy to be played on every problem."""

    policy: str
    """Name in the report."""
    model: str
    """Which model plays: base, clone, reinforced or final."""
    force: tuple[str, ...] | None
    """Decisions forced from the start; None lets the model decide."""


BASE = Play("base", "base", (ANSWER,))
TRAINED = (Play("clone", "clone", None), Play("reinforced", "reinforced", None), Play("final", "final", None))


def plan(judged: str) -> tuple[Play, ...]:
    """The plays of an evaluation whose last model is `judged`."""
    forced = (Play(name, judged, (decision,)) for name, decision in _FORCED)
    models = [play.model for play in TRAINED]
    return (BASE, *forced, *TRAINED[: models.index(judged) + 1])


_FORCED = (("never-call", ANSWER), ("always-search", "search"), ("always-python", "python"))
PLAN = plan("final")
FORCED = PLAN[1:4]
"""The branches behind need, regret and the oracle: the last model with every first decision forced once."""

ORACLE = "oracle"
"""The policy that takes the best forced branch at every problem; read off, not played."""
POLICIES = (BASE.policy, *(play.policy for play in FORCED), ORACLE, *(play.policy for play in TRAINED))
"""Every policy of the report, in the order shown."""
COMPARISONS = (("clone", "base"), ("reinforced", "clone"), ("final", "reinforced"))
"""Pairs whose paired differences are reported: challenger, then what it is measured against."""
MEANINGS = {
    "base": "the base model, zero-shot, without tools",
    "never-call": "the last model, always made to answer directly",
    "always-search": "the last model, always made to search first",
    "always-python": "the last model, always made to run Python first",
    ORACLE: "the best of the three forced branches, problem by problem",
    "clone": "after behaviour cloning of the annotations",
    "reinforced": "after cost-aware reinforcement learning",
    "final": "after distilling the self-play",
}
