"""Active selection: which cases would teach most.

Takes cases; gives them with the reasons that speak for each, the strongest first. Reasons add up. The small Q-margin
is margin sampling (Scheffer et al. 2001) over returns in place of class probabilities; the disagreement of policy and
search is query by committee (Seung et al. 1992) with a committee of two. Does not know who annotated what.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from components.annotation.case import Case

MARGIN = 0.2
"""Returns that differ by less leave doubt; a solved problem is worth about 1."""
_DECOYS = frozenset({"decoy"})


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a case is worth a person's time."""

    name: str
    points: float
    sentence: str


@dataclass(frozen=True, slots=True)
class Ranked:
    """A case with what speaks for it."""

    case: Case
    reasons: tuple[Reason, ...]

    @property
    def points(self) -> float:
        """Of all reasons together."""
        return sum(reason.points for reason in self.reasons)


def rank(cases: Iterable[Case]) -> tuple[Ranked, ...]:
    """The most instructive first; equal ones in an order that does not change."""
    ranked = [Ranked(case, tuple(reasons(case))) for case in cases]
    return tuple(sorted(ranked, key=lambda one: (-one.points, one.case.case_id)))


def reasons(case: Case) -> Iterator[Reason]:
    """What speaks for showing it; nothing does where all evidence agrees."""
    down = sum(one.thumbs == "down" for one in case.feedback)
    if down:
        yield Reason("thumbs down", 2.0, f"{down} user{'s' if down > 1 else ''} disliked what was served")
    if any(one.correction for one in case.feedback):
        yield Reason("correction", 1.0, "a user wrote what the answer should have been")
    best = _best_by_decision(case)
    if len(best) > 1:
        yield from _doubts(case, best)
    if case.family in _DECOYS:
        yield Reason("decoy", 0.5, "the corpus holds a page that misleads on this question")


def _best_by_decision(case: Case) -> list[tuple[str, float]]:
    """(decision, Q of its best action) of the decisions that were tried, the best first: arguments are no doubt."""
    best: dict[str, float] = {}
    for one in case.alternatives:
        if one.q is not None:
            best[one.turn.decision] = max(one.q, best.get(one.turn.decision, one.q))
    return sorted(best.items(), key=lambda item: -item[1])


def _doubts(case: Case, best: list[tuple[str, float]]) -> Iterator[Reason]:
    (first, first_q), (second, second_q) = best[:2]
    gap = first_q - second_q
    if gap < MARGIN:
        yield Reason("small margin", 1.0 - gap / MARGIN, f"{first} and {second} differ by {gap:.2f} in Q")
    proposed = case.alternatives[0].turn.decision
    if case.policy_is_known and proposed != first and proposed in dict(best):
        yield Reason("disagreement", 1.0, f"the policy would take {proposed}, returns favour {first}")
