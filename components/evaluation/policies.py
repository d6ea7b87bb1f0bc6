"""Which policies an evaluation plays, and which it compares.

Takes the last model, the tools that the problems offer and prices; gives the plan: a policy is a model with, perhaps,
its first decision forced or a price told. Does not load or play anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from components.schema.problem import Problem
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
    price: float | None = None
    """The price that the model is told; None: the usual one, if it follows any."""

    def plays(self, problem: Problem) -> bool:
        """Whether the problem offers what is forced."""
        return all(decision == ANSWER or decision in problem.tool_names for decision in self.force or ())


BASE = Play("base", "base", (ANSWER,))
TRAINED = (Play("clone", "clone", None), Play("reinforced", "reinforced", None), Play("final", "final", None))


NEVER, ALWAYS = "never-call", "always-"
"""The policy whose first decision is the answer, and how the names of those begin whose first decision is a tool."""
TOOLS = ("search", "python")
"""What problems offer that bring no tools of their own."""


def plan(
    judged: str, tools: Sequence[str] = TOOLS, prices: Sequence[float] = (), *, forced: bool = True
) -> tuple[Play, ...]:
    """The plays of an evaluation whose last model is `judged`, on problems that offer these `tools`: if `forced`, every
    first decision once; every model as it acts; and the last one told each of the `prices`."""
    branches = (Play(NEVER, judged, (ANSWER,)), *(Play(f"{ALWAYS}{tool}", judged, (tool,)) for tool in tools))
    models = [play.model for play in TRAINED]
    told = (Play(told_policy(judged, price), judged, None, price) for price in prices)
    return (BASE, *(branches if forced else ()), *TRAINED[: models.index(judged) + 1], *told)


def told_policy(model: str, price: float) -> str:
    """The name of the policy that is a model told a price; MLflow takes it as part of a metric's name."""
    return f"{model} told {price:g}"


def tools_of(problems: Iterable[Problem]) -> tuple[str, ...]:
    """Every tool that some problem offers, in the order in which they are first met."""
    return tuple(dict.fromkeys(name for problem in problems for name in problem.tool_names))


def forced_decision(policy: str) -> str | None:
    """The first decision that a policy of this name is forced to; None for those that decide."""
    if policy == NEVER:
        return ANSWER
    return policy.removeprefix(ALWAYS) if policy.startswith(ALWAYS) else None


ORACLE = "oracle"
"""The policy that takes the best forced branch at every problem; read off, not played."""


def in_order(policies: Iterable[str]) -> list[str]:
    """Names of policies in the order of the report: base, forced branches, oracle, trained models, the others."""
    names = list(policies)
    trained = [play.policy for play in TRAINED]
    forced = [name for name in names if forced_decision(name) is not None]
    known = [BASE.policy, *sorted(forced, key=lambda name: name != NEVER), ORACLE, *trained]
    return [*(name for name in known if name in names), *(name for name in names if name not in known)]


COMPARISONS = (("clone", "base"), ("reinforced", "clone"), ("final", "reinforced"))
"""Pairs whose paired differences are reported: challenger, then what it is measured against."""
_MEANINGS = {
    "base": "the base model, zero-shot, without tools",
    NEVER: "the last model, always made to answer directly",
    "always-search": "the last model, always made to search first",
    "always-python": "the last model, always made to run Python first",
    ORACLE: "the best of the forced branches, problem by problem",
    "clone": "after behaviour cloning of the annotations",
    "reinforced": "after cost-aware reinforcement learning",
    "final": "after distilling the self-play",
}


def meaning_of(policy: str) -> str:
    """Half a sentence for a reader; empty for a name that no plan gives."""
    tool, (model, _, price) = forced_decision(policy), policy.partition(" told ")
    if policy in _MEANINGS or (tool is None and not price):
        return _MEANINGS.get(policy, "")
    return f"the last model, always made to call {tool} first" if tool else f"{model}, told that a call costs {price}"
